#!/usr/bin/env bash
# Builds h2spec of what h2spec/go.mod says, once, into ~/.cache/headgate/tools. Needs Go.
set -euo pipefail
cd "$(dirname "$0")/h2spec"

tools=${XDG_CACHE_HOME:-$HOME/.cache}/headgate/tools
version=$(cat go.mod go.sum | sha256sum)

[ "$(cat "$tools/h2spec.version" 2>/dev/null)" = "$version" ] && exit
command -v go >/dev/null || { echo "h2spec needs Go (1.21 or newer, https://go.dev/dl)" >&2; exit 1; }
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9
go build -trimpath -ldflags "-s -w" -o "$tools/h2spec" github.com/summerwind/h2spec/cmd/h2spec
echo "$version" >"$tools/h2spec.version"
