#!/usr/bin/env bash
# Gets what the tests of the chart need, once, into ~/.cache/headgate/tools: Helm, the OpenAPI document of Kubernetes, the
# definitions of the Prometheus Operator and what reads a file as kind does, all from Go modules. Needs Go.
set -euo pipefail
cd "$(dirname "$0")"

HELM=v4.3.1 KUBERNETES=v1.35.4 OPERATOR=v0.85.0 KIND=v0.33.0
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
kind_config() {
    local folder
    folder=$(mktemp -d)
    cp -r --no-preserve=mode "$(module "sigs.k8s.io/kind@$KIND")/." "$folder"
    mkdir "$folder/pkg/kind-config"
    cp kind.go "$folder/pkg/kind-config/main.go"
    (cd "$folder" && go build -o kind-config ./pkg/kind-config)
    cat "$folder/kind-config"
    rm -r "$folder"
}

command -v go >/dev/null || { echo "the tests of the chart need Go (1.21 or newer, https://go.dev/dl)" >&2; exit 1; }
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9
put helm "$HELM" helm
put kind-config "$KIND $(sha256sum <kind.go)" kind_config
chmod +x "$tools"/{helm,kind-config}
put kubernetes.json "$KUBERNETES" kubernetes
put prometheus-operator.yaml "$OPERATOR" operator
