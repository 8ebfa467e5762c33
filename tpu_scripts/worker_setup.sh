#!/usr/bin/env bash
# worker_setup.sh COMMIT MOUNT [STORAGE]: what setup.sh runs on each worker. It
# may be run again, for another commit too.
set -euo pipefail
commit=$1 mount=$2 storage=${3:-}
cd

packages=()
need() { command -v "$1" > /dev/null || packages+=("$2"); }
need git git
need make make
[[ $storage == gs://* || $storage != *:/* ]] || need mount.nfs nfs-common
if ((${#packages[@]} > 0)); then
  # New machines upgrade themselves, and hold the lock meanwhile.
  sudo apt-get -qq -o DPkg::Lock::Timeout=600 update
  sudo apt-get -qq -o DPkg::Lock::Timeout=600 install -y "${packages[@]}"
fi

if ! mountpoint --quiet "$mount"; then
  sudo mkdir -p "$mount"
  case $storage in
    gs://*)
      command -v gcsfuse > /dev/null || {
        echo "$(hostname): gcsfuse is not installed" >&2
        exit 1
      }
      sudo chown "$(id -u)" "$mount"
      gcsfuse --implicit-dirs "${storage#gs://}" "$mount"
      ;;
    *:/*)
      sudo mount -t nfs -o hard,noatime "$storage" "$mount"
      sudo chown "$(id -u)" "$mount"
      ;;
    *) sudo chown "$(id -u)" "$mount" ;; # a single machine: its own disk
  esac
fi

[[ ! -f hephaestus.env ]] || chmod 600 hephaestus.env
rm -f hephaestus.commit # setup is under way
git init --quiet hephaestus
git -C hephaestus fetch --quiet ../hephaestus.bundle refs/hephaestus/pod
git -C hephaestus checkout --quiet --force --detach "$commit"

# The machines come with Python 3.10.
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
.local/bin/uv python install --quiet 3.11
make --silent -C hephaestus install "PYTHON=$(.local/bin/uv python find 3.11)"
hephaestus/.venv/bin/pip install --quiet --no-compile --no-deps \
  -r hephaestus/requirements/tpu.txt
echo "$commit" > hephaestus.commit
