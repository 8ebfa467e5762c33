#!/usr/bin/env bash
# setup.sh [SETTINGS]: gives every worker the code at POD_COMMIT, Python 3.11,
# what requirements/ pins, and the storage. The commit travels as a git bundle:
# no worker needs a key to a repository.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

find_commit
git -C "$ROOT" diff --quiet HEAD ||
  echo 'What is not committed stays here: workers get the commit.' >&2
bundle=$(git -C "$ROOT" rev-parse --path-format=absolute \
  --git-path hephaestus.bundle)
# A bundle is made of references; this one is in nobody's way.
run git -C "$ROOT" update-ref refs/hephaestus/pod "$POD_COMMIT"
run git -C "$ROOT" bundle create --quiet "$bundle" refs/hephaestus/pod
queued_resources scp "$bundle" "$HERE/worker_setup.sh" "$POD_NAME:" \
  "${EVERYWHERE[@]}"
if [[ -n $POD_WORKER_ENV ]]; then
  [[ -f $POD_WORKER_ENV ]] || die "POD_WORKER_ENV: no file $POD_WORKER_ENV."
  [[ -z $(find "$POD_WORKER_ENV" -perm -g+r -o -perm -o+r) ]] ||
    die "POD_WORKER_ENV: others can read $POD_WORKER_ENV; chmod 600 it."
  queued_resources scp "$POD_WORKER_ENV" "$POD_NAME:hephaestus.env" \
    "${EVERYWHERE[@]}"
fi
on_workers \
  "bash worker_setup.sh $POD_COMMIT $POD_MOUNT${POD_STORAGE:+ $POD_STORAGE}"
