#!/usr/bin/env bash
# delete.sh [SETTINGS]: gives the pod back. What is on the storage stays.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

queued_resources delete "$POD_NAME" --force --quiet
