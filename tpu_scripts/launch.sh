#!/usr/bin/env bash
# launch.sh [--restart] [SETTINGS] COMMAND RUN.gin [--gin.NAME=VALUE ...]:
# starts `hephaestus COMMAND ...` on all workers at once, as a service that
# outlives this connection. Its log there is ~/hephaestus.log, and shows the
# command: tokens belong into POD_WORKER_ENV.
#   --restart: a run that is there gets SIGTERM first, upon which it saves.
set -euo pipefail
SWITCHES=restart RESTART=false
# shellcheck source=settings.sh
source "$(dirname "$0")/settings.sh"

(($# > 0)) || die 'say what to run, such as: train gin/runs/hephaestus_8b.gin'
how=start
if [[ $RESTART == true ]]; then
  how=restart
  # All of them first: what they save, they save together.
  on_workers '{ sudo systemctl stop --no-block hephaestus || true; }'
fi
on_workers "bash hephaestus/tpu_scripts/worker_launch.sh $how $(show "$@")"
