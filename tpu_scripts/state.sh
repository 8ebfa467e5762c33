#!/usr/bin/env bash
# state.sh [SETTINGS] [COMMAND ...]: two words, for the queued resource and for
# the run. The first is Google's, NONE or UNKNOWN. The second, if it is ACTIVE:
#   running | ended | failed   of all workers together; stopped counts as failed
#   absent                     some worker lacks the code at POD_COMMIT
#   idle                       they have it, and COMMAND was not launched
#   busy                       they run another COMMAND or commit
#   preempted | unreachable    some worker does not answer
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

find_commit
id=
(($# == 0)) || id=" $(printf '%s\0' "$@" | cksum | tr ' ' -)"
look="bash hephaestus/tpu_scripts/worker_state.sh $POD_COMMIT$id"
look+=' || echo pod:absent'
nodes=("$POD_NAME")
((POD_SLICES == 1)) ||
  mapfile -t nodes < <(seq -f "$POD_NAME-%g" 0 $((POD_SLICES - 1)))

queue() {
  queued_resources describe "$POD_NAME" --format='value(state.state)'
}
workers() {
  queued_resources ssh "$POD_NAME" "${EVERYWHERE[@]}" --command="$look"
}
node() {
  run gcloud compute tpus tpu-vm describe "$1" --format='value(state)' \
    --zone="$POD_ZONE" --project="$POD_PROJECT"
}

if [[ $DRY_RUN == true ]]; then
  queue
  workers
  for name in "${nodes[@]}"; do node "$name"; done
  exit
fi

errors=$(mktemp)
trap 'rm "$errors"' EXIT
if ! queue=$(queue 2> "$errors"); then
  cat "$errors" >&2
  queue=UNKNOWN
  ! grep -q NOT_FOUND "$errors" || queue=NONE
fi
run=-
if [[ $queue == ACTIVE ]]; then
  states=$(workers | grep -o 'pod:[a-z-]*') || true
  all() { ! grep -qv "$1" <<< "$states"; }
  case $states in
    *busy*) run=busy ;;
    *absent*) run=absent ;;
    *idle*) if all idle; then run=idle; else run=failed; fi ;;
    *failed* | *dead*) run=failed ;;
    *) if all exited; then run=ended; else run=running; fi ;;
  esac
  if (($(grep -c . <<< "$states") != WORKERS)); then
    run=unreachable
    # A node may be gone while its queued resource is still ACTIVE.
    for name in "${nodes[@]}"; do
      [[ $(node "$name") != @(PREEMPTED|TERMINATED) ]] || run=preempted
    done
  fi
fi
echo "$queue $run"
