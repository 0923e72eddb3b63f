#!/usr/bin/env bash
# Builds Kubernetes (main.go) and the image of pods' sandboxes, once, and prints the folder that has them: `kube`,
# `kubectl`, `pause.tar`. It is outside the repository and named after what it is built from. A first build takes 7 minutes
# on two cores, downloads 0.8 GB into Go's module cache and needs 3 GB in its build cache.
set -euo pipefail
cd "$(dirname "$0")"

VERSION=v1.35.4
sources=$(cat kube.sh image.py main.go go.mod go.sum pause/main.go | sha256sum)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/headgate
built=$cache/kube-${sources:0:16}

build() { # FOLDER
    local version=k8s.io/component-base/version
    export CGO_ENABLED=0
    go build -trimpath -o "$1/kube" \
        -ldflags "-s -w -X $version.gitVersion=$VERSION -X $version.gitMajor=1 -X $version.gitMinor=35" .
    ln -s kube "$1/kubectl"
    go build -trimpath -ldflags "-s -w" -o "$1/pause" ./pause
    ./image.py headgate.test/pause:1 "$1/pause.tar" "$1/pause=/pause"
}

if [ ! -d "$built" ]; then
    command -v go >/dev/null || { echo "cluster: needs Go (1.21 or newer, https://go.dev/dl)" >&2; exit 1; }
    mkdir -p "$cache"
    exec 8>"$cache/kube.lock"
    flock 8
fi
if [ ! -d "$built" ]; then
    echo "cluster: building Kubernetes $VERSION once, for $built (minutes)" >&2
    unfinished=$(mktemp -d "$cache/unfinished.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    build "$unfinished"
    mv "$unfinished" "$built"
fi
echo "$built"
