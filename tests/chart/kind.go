// Command kind-config reads a file as `kind create cluster --config` does and prints what kind understood, or why it
// refuses it. What it needs is internal to kind's module, so tools.sh builds it within a copy of that.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/internal/apis/config"
	"sigs.k8s.io/kind/pkg/internal/apis/config/encoding"
)

func understood(path string) (*config.Cluster, error) {
	cluster, err := encoding.Load(path)
	if err != nil {
		return nil, err
	}
	config.SetDefaultsCluster(cluster)
	return cluster, cluster.Validate()
}

func main() {
	cluster, err := understood(os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(cluster)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
