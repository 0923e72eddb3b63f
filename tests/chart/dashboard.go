// Command grafana-schema reads a dashboard by Grafana's own schema, in which nothing may be unknown, and says what is wrong.
// tools.sh builds it within a copy of the schema's module.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// What the schema of a dashboard leaves to others, or reads without complaint.
type parts struct {
	Panels []struct {
		FieldConfig json.RawMessage
		Targets     []json.RawMessage
	}
}

func wrong(text []byte) error {
	var whole dashboard.Dashboard
	found := []error{whole.UnmarshalJSONStrict(text), whole.Validate()}
	var parts parts
	found = append(found, json.Unmarshal(text, &parts))
	for _, panel := range parts.Panels {
		found = append(found, new(dashboard.FieldConfigSource).UnmarshalJSONStrict(panel.FieldConfig))
		for _, target := range panel.Targets {
			found = append(found, new(prometheus.Dataquery).UnmarshalJSONStrict(target))
		}
	}
	return errors.Join(found...)
}

func main() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = wrong(text)
	}
	// Each reader that finds nothing gives an empty list.
	if err != nil {
		fmt.Print(strings.TrimSpace(err.Error()))
	}
}
