#!/usr/bin/env bash
# build.sh kube|monitoring: builds a part of the cluster, once, and prints the folder that has it, which is outside the
# repository and named after what it is built from.
#   kube        Kubernetes (main.go) and the image of pods' sandboxes: `kube`, `kubectl`, `pause.tar`. A first build takes 7
#               minutes on two cores, downloads 0.8 GB into Go's module cache and needs 3 GB in its build cache
#   monitoring  images of Prometheus, its operator, and the operator's reloader: `prometheus.tar`, `operator.tar`,
#               `prometheus-config-reloader.tar`. A first build takes 7 minutes on two cores
set -euo pipefail
cd "$(dirname "$0")"

VERSION=v1.35.4
part=$1
declare -A from=([kube]="main.go go.mod go.sum pause/main.go" [monitoring]="monitoring/go.mod monitoring/go.sum")

kube() { # FOLDER
    local version=k8s.io/component-base/version
    go build -trimpath -o "$1/kube" \
        -ldflags "-s -w -X $version.gitVersion=$VERSION -X $version.gitMajor=1 -X $version.gitMinor=35" .
    ln -s kube "$1/kubectl"
    go build -trimpath -ldflags "-s -w" -o "$1/pause" ./pause
    ./image.py headgate.test/pause:1 "$1/pause.tar" "$1/pause=/pause"
}

# Of what finds targets, only what asks Kubernetes.
monitoring() { # FOLDER
    local program
    go -C monitoring build -trimpath -tags remove_all_sd,enable_kubernetes_sd -ldflags "-s -w" -o "$1/" tool
    for program in prometheus operator prometheus-config-reloader; do
        ./image.py "headgate.test/$program:1" "$1/$program.tar" "$1/$program=/bin/$program"
        rm "$1/$program"
    done
}

# shellcheck disable=SC2086 # one argument a file
sources=$({ echo "$VERSION"; declare -f "$part"; cat image.py ${from[$part]}; } | sha256sum)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/headgate
built=$cache/$part-${sources:0:16}

if [ ! -d "$built" ]; then
    command -v go >/dev/null || { echo "cluster: needs Go (1.21 or newer, https://go.dev/dl)" >&2; exit 1; }
    mkdir -p "$cache"
    exec 8>"$cache/$part.lock"
    flock 8
fi
if [ ! -d "$built" ]; then
    echo "cluster: building its part $part once, for $built (minutes)" >&2
    unfinished=$(mktemp -d "$cache/unfinished.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    export CGO_ENABLED=0
    "$part" "$unfinished"
    mv "$unfinished" "$built"
fi
echo "$built"
