#!/usr/bin/env bash
# logs.sh [SETTINGS]: fetches every worker's log into logs/POD_NAME/ here. A
# copy stays on the storage.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

logs=$POD_MOUNT/logs/$POD_NAME
status=0
on_workers "mkdir -p $logs && cp hephaestus.log $logs/\$(hostname).log" ||
  status=1 # fetch what the others have
run mkdir -p logs
queued_resources scp "$POD_NAME:$logs" logs --recurse --node=0 --worker=0 \
  "${SSH_FLAGS[@]}"
exit "$status"
