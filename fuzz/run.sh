#!/usr/bin/env bash
# Runs the fuzz targets one after the other, those that read what strangers send first: fuzz/run.sh SECONDS [TARGET...]
# What is found lies in fuzz/artifacts; the corpus it grows from here on lies in fuzz/target/corpus, the committed one stays.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
(($#)) || set -- preparse bodies h1_e2e h1_response path host_sni h2_e2e h2_to_h1 proxy_protocol forwarded \
    router_model config_model k8s_objects secret_pem policy

cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

failed=()
for target in "$@"; do
    grown=fuzz/target/corpus/$target
    mkdir -p "$grown"
    # Headgate has no unsafe code, so a sanitizer would only slow it down.
    cargo +nightly fuzz run --sanitizer none "$target" "$grown" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -dict=fuzz/words.dict -max_len=4096 -timeout=60 -print_final_stats=1 ||
        failed+=("$target")
done
((${#failed[@]} == 0)) || { echo "found something: ${failed[*]}" >&2; exit 1; }
