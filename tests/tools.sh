#!/usr/bin/env bash
# Gets what the tests need beyond Rust, where it can: a C compiler, curl, nghttp2's clients, what makes network
# namespaces, judges of HTTP and TLS, and a Python environment with websockets and their judge, gRPC and HTTP/2 in
# target/test-tools; Helm with what the chart is checked against; what tests/cluster makes a Kubernetes node of; and the
# Debian packages named as arguments. Says what is missing otherwise, but for the node, whose tests say that. Does nothing
# the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=target/test-tools
packages=(websockets kosoku grpcio h2 sslyze)
missing=()

have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages if this machine has them and we may.
debian() {
    ((EUID == 0)) && have apt-get || return 1
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    apt-get update >/dev/null 2>&1 && apt-get install -y --no-install-recommends "$@" >/dev/null
}

# need PROGRAM DEBIAN-PACKAGE...
need() {
    local program=$1
    shift
    have "$program" || debian "$@" || missing+=("$program (Debian: $*)")
}

# component NAME PROBE...: a part of the Rust toolchain
component() {
    local name=$1
    shift
    "$@" >/dev/null 2>&1 || { have rustup && rustup component add "$name" >/dev/null 2>&1; } ||
        missing+=("$name (rustup component add $name)")
}

python_can_make_environments() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

imports() { "$environment/bin/python" -c 'import websockets, kosoku, grpc, h2, sslyze' >/dev/null 2>&1; }

python_environment() {
    imports && return
    python_can_make_environments || debian python3 python3-venv || true
    python_can_make_environments || { missing+=("python3 with venv (Debian packages python3 python3-venv)"); return; }
    python3 -m venv --clear "$environment" &&
        "$environment/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" && imports ||
        missing+=("the Python packages ${packages[*]} in $environment (pip says why above)")
}

# What makes a node: only root can use it, and only root can install it.
node_programs() {
    local missing=()
    have containerd || missing+=(containerd)
    have runc || missing+=(runc)
    [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
    have iptables || missing+=(iptables)
    have conntrack || missing+=(conntrack)
    have openssl || missing+=(openssl)
    have strip || missing+=(binutils)
    have busybox || missing+=(busybox)
    ((${#missing[@]} == 0)) || debian "${missing[@]}" || true
}

component rustfmt cargo fmt --version
component clippy cargo clippy --version
need cc gcc libc6-dev
need ip iproute2
need unshare util-linux
need curl curl
need valgrind valgrind
need nghttp nghttp2-client
need h2load nghttp2-client
need slowhttptest slowhttptest
need testssl testssl.sh openssl
for program in "$@"; do need "$program" "$program"; done
[ -n "$(find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null)" ] || debian libfaketime || missing+=("libfaketime (Debian: libfaketime)")
python_environment
tests/foreign/tools.sh || missing+=("what tests/foreign builds (it says why above)")
tests/chart/tools.sh || missing+=("what tests/chart needs (it says why above)")
node_programs

if ((${#missing[@]})); then
    echo "The tests need these, and they could not be installed:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
