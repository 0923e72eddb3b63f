#!/usr/bin/env bash
# Gets what the tests of the chart need, once, into ~/.cache/headgate/tools: Helm, the OpenAPI document of Kubernetes, the
# definitions of the Prometheus Operator, and what reads a file as kind does and a dashboard as Grafana does, all from Go
# modules. Needs Go.
set -euo pipefail
cd "$(dirname "$0")"

# The operator is the one that tests/cluster runs (monitoring/go.mod).
HELM=v4.3.1 KUBERNETES=v1.35.4 OPERATOR=v0.91.0 KIND=v0.33.0 GRAFANA=v0.0.22
tools=${XDG_CACHE_HOME:-$HOME/.cache}/headgate/tools

module() { # PATH@VERSION: prints where it is
    (cd / && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# put NAME VERSION COMMAND...: keeps what COMMAND prints as NAME, until VERSION changes
put() {
    local name=$1 version=$2
    shift 2
    [ "$(cat "$tools/$name.version" 2>/dev/null)" = "$version" ] && return
    "$@" >"$tools/$name.new"
    mv "$tools/$name.new" "$tools/$name"
    echo "$version" >"$tools/$name.version"
}

helm() {
    local folder
    folder=$(mktemp -d)
    (cd / && GOBIN=$folder go install -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@$HELM")
    cat "$folder/helm"
    rm -r "$folder"
}
kubernetes() { cat "$(module "k8s.io/kubernetes@$KUBERNETES")/api/openapi-spec/swagger.json"; }
operator() {
    local file
    for file in "$(module "github.com/prometheus-operator/prometheus-operator@$OPERATOR")"/example/prometheus-operator-crd/*.yaml; do
        echo ---
        cat "$file"
    done
}
built_in() { # PATH@VERSION FOLDER FILE: a program of ours, in a copy of the module, so that it may use all of it
    local copy
    copy=$(mktemp -d)
    cp -r --no-preserve=mode "$(module "$1")/." "$copy"
    mkdir "$copy/$2"
    cp "$3" "$copy/$2/main.go"
    (cd "$copy" && go build -o program "./$2")
    cat "$copy/program"
    rm -r "$copy"
}

command -v go >/dev/null || { echo "the tests of the chart need Go (1.21 or newer, https://go.dev/dl)" >&2; exit 1; }
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9
put helm "$HELM" helm
put kind-config "$KIND $(sha256sum <kind.go)" built_in "sigs.k8s.io/kind@$KIND" pkg/kind-config kind.go
put grafana-schema "$GRAFANA $(sha256sum <dashboard.go)" \
    built_in "github.com/grafana/grafana-foundation-sdk/go@$GRAFANA" grafana-schema dashboard.go
chmod +x "$tools"/{helm,kind-config,grafana-schema}
put kubernetes.json "$KUBERNETES" kubernetes
put prometheus-operator.yaml "$OPERATOR" operator
