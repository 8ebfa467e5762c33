#!/usr/bin/env bash
# create.sh [SETTINGS]: asks for the pod as a queued resource. Google gives it
# when there is room; state.sh says whether it did.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

nodes=(--node-id="$POD_NAME")
((POD_SLICES == 1)) ||
  nodes=(--node-count="$POD_SLICES" --node-prefix="$POD_NAME")
tier=()
[[ $POD_SPOT == false ]] || tier=(--spot)
queued_resources create "$POD_NAME" "${nodes[@]}" \
  --accelerator-type="$POD_ACCELERATOR_TYPE" --runtime-version="$RUNTIME" \
  "${tier[@]}" "${CREATE_FLAGS[@]}"
