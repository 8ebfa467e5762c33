#!/usr/bin/env bash
# worker_state.sh COMMIT [ID]: what state.sh asks each worker that has the code.
# ID is the sum of COMMAND; without it any will do. Says pod:WORD, where WORD is
# systemd's (running, exited, failed, dead), or else absent, idle or busy.
set -euo pipefail
cd

state=$(systemctl show --property=SubState --value hephaestus)
other=
[[ -z ${2:-} || $(cat hephaestus.id 2> /dev/null) == "$2" ]] || other=idle
[[ $(cat hephaestus.commit 2> /dev/null) == "$1" ]] || other=absent
case $state in
  dead | failed | exited) ;;
  *) other=${other:+busy} ;;
esac
echo "pod:${other:-$state}"
