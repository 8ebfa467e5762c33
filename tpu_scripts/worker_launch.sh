#!/usr/bin/env bash
# worker_launch.sh start|restart COMMAND ...: what launch.sh runs on a worker.
set -euo pipefail
how=$1
shift
cd

case $(systemctl show --property=SubState --value hephaestus) in
  dead | failed | exited) ;;
  *)
    [[ $how == restart ]] || {
      echo "$(hostname): a run is there. launch.sh --restart ends it first." >&2
      exit 1
    }
    ;;
esac
sudo systemctl stop hephaestus 2> /dev/null || true # returns when it has ended
sudo systemctl reset-failed hephaestus 2> /dev/null || true

# A file, since systemd would replace each $ in its arguments.
printf '%q ' exec .venv/bin/hephaestus "$@" > hephaestus.command
printf '%s\0' "$@" | cksum | tr ' ' - > hephaestus.id # see worker_state.sh
echo "$(date '+%F %T') $(cat hephaestus.command)" >> hephaestus.log
# A service gets SIGTERM when the machine is taken away. `mixed`: the process in
# front gets it, and tells its own. `RemainAfterExit`: so that a run which has
# ended can be told from one that never began.
sudo systemd-run --quiet --unit=hephaestus --uid="$(id -u)" --gid="$(id -g)" \
  --working-directory="$PWD/hephaestus" --setenv=PYTHONUNBUFFERED=1 \
  --property=EnvironmentFile="-$PWD/hephaestus.env" \
  --property=StandardOutput="append:$PWD/hephaestus.log" \
  --property=StandardError="append:$PWD/hephaestus.log" \
  --property=KillMode=mixed --property=TimeoutStopSec=600 \
  --property=RemainAfterExit=yes \
  /bin/bash "$PWD/hephaestus.command"
