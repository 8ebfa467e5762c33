#!/usr/bin/env bash
# watch.sh [SETTINGS] COMMAND RUN.gin [--gin.NAME=VALUE ...]: brings `hephaestus
# COMMAND ...` to its end, from wherever the pod is. What is missing is made:
# the pod, the code on it, the run. What was preempted is deleted and asked for
# again; what failed is started again, after a pause that doubles up to 16 times
# POD_POLL. Ends with 0 when the run has ended, with 1 at POD_FAILURES failures.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

(($# > 0)) || die 'say what to run, such as: train gin/runs/hephaestus_8b.gin'
find_commit # a later HEAD is not what was begun

if [[ $DRY_RUN == true ]]; then
  "$HERE/state.sh" --dry_run "$@"
  for step in delete create setup; do "$HERE/$step.sh" --dry_run; done
  exec "$HERE/launch.sh" --dry_run --restart "$@"
fi

say() { echo "$(date '+%F %T') $POD_NAME: $*"; }

failures=0 launched=$SECONDS
failed() {
  failures=$((failures + 1))
  say "$* (failure $failures of $POD_FAILURES)"
  ((failures < POD_FAILURES)) || {
    say 'given up. Where the pod still is, it is billed: logs.sh, delete.sh.'
    exit 1
  }
}
launch() {
  "$HERE/launch.sh" --restart "$@" || failed 'launch.sh failed'
  launched=$SECONDS
}

while true; do
  state=$("$HERE/state.sh" "$@")
  say "$state"
  case $state in
    'ACTIVE running') ((SECONDS - launched < POD_STEADY)) || failures=0 ;;
    'ACTIVE absent')
      if "$HERE/setup.sh"; then launch "$@"; else failed 'setup.sh failed'; fi
      ;;
    'ACTIVE idle') launch "$@" ;;
    'ACTIVE busy')
      say 'another run is there. launch.sh --restart ends it, or another pod.'
      exit 1
      ;;
    'ACTIVE failed')
      failed 'the run failed, or was stopped'
      "$HERE/logs.sh" || true
      launch "$@"
      ;;
    'ACTIVE ended')
      say 'the run has ended. The pod is still billed: logs.sh, delete.sh.'
      exit 0
      ;;
    'ACTIVE preempted' | SUSPENDED* | FAILED*)
      failed 'the pod is gone'
      queued_resources describe "$POD_NAME" --format='yaml(state)' || true
      "$HERE/delete.sh" || true
      ;;
    'ACTIVE unreachable') failed 'not every worker answers' ;;
    NONE*) "$HERE/create.sh" || failed 'create.sh failed' ;;
    UNKNOWN*) failed 'gcloud could not say' ;;
    *) ;; # WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDING, DELETING: wait
  esac
  sleep $((POD_POLL << (failures < 4 ? failures : 4)))
done
