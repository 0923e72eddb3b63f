#!/usr/bin/env bash
# render.sh VARIANT: prints the chart with deploy/VARIANT/values.yaml, for those who have no Helm. `make manifests` writes
# it to deploy/VARIANT/headgate.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."

helm=$(command -v helm || echo "${XDG_CACHE_HOME:-$HOME/.cache}/headgate/tools/helm")

variant=$1
cat <<END
# The chart charts/headgate with deploy/$variant/values.yaml; \`make manifests\` writes this file.
#   kubectl apply --server-side -f deploy/$variant/headgate.yaml
apiVersion: v1
kind: Namespace
metadata: {name: headgate}
END
# Helm does not manage these objects: nothing keeps the definition when they are deleted, and nobody runs hooks.
"$helm" template headgate charts/headgate --namespace headgate --values "deploy/$variant/values.yaml" \
    --set crds.keep=false --no-hooks | grep -v '^ *\(helm.sh/chart\|app.kubernetes.io/managed-by\): '
