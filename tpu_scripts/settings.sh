# shellcheck shell=bash disable=SC2034
# Sourced by every script here: the settings and their checks, and how a command
# is shown or run.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
DONE=done-on-a-worker # what a worker says last, if all went well

die() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# The head of the script, and every setting.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  echo '  --dry_run: print the commands, and run none.'
  echo "Settings, as flags, as POD_NAME ... in the environment, or in pod.env:"
  # shellcheck disable=SC2016
  sed -n 's/^: "${POD_\([A-Z_]*\):=\(.*\)}" *# /\1 [\2] /p' "$HERE/pod.env" |
    awk '{ printf "  --%-17s", tolower($1); $1 = ""; print }'
}

# check NAME REGEX MEANING
check() {
  local LC_ALL=C
  [[ ${!1} =~ ^($2)$ ]] || die "$1 is '${!1}', and must be $3."
}

# A command as one would type it.
show() {
  local word line=
  for word; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=${word@Q}
    line+="$word "
  done
  echo "${line% }"
}

run() {
  if [[ $DRY_RUN == true ]]; then show "$@"; else "$@"; fi
}

queued_resources() {
  run gcloud compute tpus queued-resources "$@" \
    --zone="$POD_ZONE" --project="$POD_PROJECT"
}

# on_workers COMMAND: on every worker of every slice, or it fails. gcloud leaves
# out a node that it can't prepare, and ends with 0 all the same: so count.
on_workers() {
  local said count
  said=$(queued_resources ssh "$POD_NAME" "${EVERYWHERE[@]}" \
    --command="$1 && echo $DONE") || return
  echo "$said"
  [[ $DRY_RUN == false ]] || return 0
  count=$(grep -o "$DONE" <<< "$said" | wc -l) || true
  ((count == WORKERS)) || {
    echo "$count of the $WORKERS workers of $POD_NAME did it" >&2
    return 1
  }
}

# Sets POD_COMMIT to all 40 digits of its commit.
find_commit() {
  POD_COMMIT=$(git -C "$ROOT" rev-parse --verify --quiet --end-of-options \
    "$POD_COMMIT^{commit}") || die "POD_COMMIT is no commit of $ROOT."
}

((BASH_VERSINFO[0] >= 5)) || die "bash 5 is needed; this is $BASH_VERSION."
DRY_RUN=false
set -o allexport # watch.sh starts other scripts, with the same settings
while [[ ${1:-} == --* ]]; do
  flag=${1%%=*} flag=${flag#--}
  if [[ $flag == help ]]; then
    usage
    exit
  elif [[ -n $flag && " dry_run ${SWITCHES:-} " == *" $flag "* ]]; then
    declare "${flag^^}=true"
  elif grep -qF "\"\${POD_${flag^^}:=" "$HERE/pod.env"; then
    if [[ $1 != *=* ]]; then
      (($# > 1)) || die "--$flag needs a value."
      set -- "$1=$2" "${@:3}"
    fi
    declare "POD_${flag^^}=${1#*=}"
  else
    die "there is no --$flag; --help shows what there is."
  fi
  shift
done
# shellcheck source=pod.env
source "${POD_ENV:-$HERE/pod.env}"
set +o allexport

check POD_NAME '[a-z]([-a-z0-9]{0,60}[a-z0-9])?' \
  'lower-case letters, digits and hyphens, a letter first'
check POD_PROJECT '[a-z][-a-z0-9.:]*[a-z0-9]' 'the id of a project'
check POD_ZONE '[a-z]+-[a-z]+[0-9]+-[a-z]' 'a zone such as us-east5-a'
check POD_ACCELERATOR_TYPE '(v2|v3|v4|v5litepod|v5p|v6e)-[1-9][0-9]*' \
  'a type such as v4-32, v5litepod-256, v5p-128 or v6e-256'
check POD_RUNTIME_VERSION '[-a-z0-9.]*' 'a TPU software version'
check POD_SPOT 'true|false' 'true or false'
check POD_STORAGE '|[A-Za-z0-9.-]+:/[A-Za-z0-9._/-]*|gs://[-a-z0-9._]+' \
  'HOST:/SHARE or gs://BUCKET'
check POD_MOUNT '/[A-Za-z0-9._/-]+' 'an absolute path without spaces'
check POD_WORKERS '|[1-9][0-9]*' 'a number'
for number in POD_SLICES POD_FAILURES; do
  check "$number" '[1-9][0-9]*' 'a number of at least 1'
done
for number in POD_POLL POD_STEADY; do
  check "$number" '0|[1-9][0-9]*' 'a number of seconds'
done
read -ra CREATE_FLAGS <<< "$POD_CREATE_FLAGS"
read -ra SSH_FLAGS <<< "$POD_SSH_FLAGS"
EVERYWHERE=(--node=all --worker=all "${SSH_FLAGS[@]}")

# Names count cores up to v5p, and chips from then on. A machine has 4 chips, or
# 8 where those are all.
size=${POD_ACCELERATOR_TYPE#*-}
case $POD_ACCELERATOR_TYPE in
  v5litepod-*) runtime=v2-alpha-tpuv5-lite machines=$((size / 4)) ;;
  v5p-*) runtime=v2-alpha-tpuv5 machines=$((size / 8)) ;;
  v6e-*) runtime=v2-alpha-tpuv6e machines=$((size / 4)) ;;
  *) runtime=tpu-ubuntu2204-base machines=$((size / 8)) ;;
esac
((size > 8)) || machines=1
RUNTIME=${POD_RUNTIME_VERSION:-$runtime}
WORKERS=${POD_WORKERS:-$((machines * POD_SLICES))}
