"""A Linux machine for an agent that shall be root on it: nothing of it stays.

`sandbox.run` is for a program that needs nothing but its input. An agent that
does an administrator's work adds users, starts services and writes into /usr.
So here it gets a root of its own: the system's /usr under a layer in memory
(overlayfs), an /etc made anew without anybody's secrets, empty /root, /home and
/var. Bubblewrap keeps it away from the rest: no network, no processes but its
own, no devices, and of root's powers only those over files and users.

A control group holds the machine's processes and memory where root may make
one; they are looked at several times a second besides, and a machine that takes
too much is ended. (The kernel's other limit on processes doesn't hold for root,
and a fork bomb is faster than any look.)
"""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

from hephaestus_jax import errors, sandbox

# What Docker leaves to root, without those for networks and devices.
CAPABILITIES = (
  *('CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID'),
  *('CAP_KILL', 'CAP_SETGID', 'CAP_SETUID', 'CAP_AUDIT_WRITE'),
)
# Files there that root may write to although it has no capability for it: with
# them one would get out (core_pattern), or turn the real machine's knobs.
# Bubblewrap means to cover /proc/sys by itself, and was seen not to.
KNOBS = ('sys', 'acpi', 'fs', 'mtrr', 'pressure', 'scsi', 'tty')
SETTINGS = (
  *('alternatives', 'bash.bashrc', 'debian_version', 'default', 'inputrc'),
  *('ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'localtime', 'login.defs'),
  *('mime.types', 'nsswitch.conf', 'os-release', 'pam.conf', 'pam.d'),
  *('profile', 'protocols', 'security', 'services', 'shells', 'skel'),
  'timezone',
)
ENVIRONMENT = {
  'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME': '/root',
  'USER': 'root',
  'LANG': 'C.UTF-8',
}
GROUPS = pathlib.Path('/sys/fs/cgroup')
# `sh` builds the root in a private mount namespace and becomes bubblewrap.
BUILD = """
set -eu
folder=$1 size=$2 settings=$3 memory=$4 processes=$5; shift 5
confine() { # hierarchy (of version 1; '' for version 2), file, limit
  group=/sys/fs/cgroup$1/hephaestus-$$
  if [ -e "/sys/fs/cgroup$1/cgroup.procs" ] && mkdir -p "$group" &&
    [ -e "$group/$2" ]; then
    echo "$3" > "$group/$2" && echo $$ > "$group/cgroup.procs"
  fi
}
confine /pids pids.max "$processes" || true
confine /memory memory.limit_in_bytes "$memory" || true
confine '' pids.max "$processes" || true
confine '' memory.max "$memory" || true
mount -t tmpfs -o "size=$size,mode=755" tmpfs "$folder"
root=$folder/root
mkdir -m 755 "$root"
cd "$root"
mkdir -m 755 dev etc home media mnt opt proc run srv sys var
mkdir -m 700 root
mkdir -m 1777 tmp var/tmp
mkdir -p var/cache var/lib/dpkg var/log var/mail var/spool
for layer in usr bin sbin lib lib32 lib64 libx32 var/lib/dpkg; do
  if [ -L "/$layer" ]; then
    ln -s "$(readlink "/$layer")" "$layer"
  elif [ -d "/$layer" ]; then
    upper=$folder/upper/$layer work=$folder/work/$layer
    mkdir -p "$layer" "$upper" "$work"
    mount -t overlay overlay "$layer" \
      -o "lowerdir=/$layer,upperdir=$upper,workdir=$work"
  fi
done
for setting in $settings; do
  if [ -e "/etc/$setting" ]; then cp -a "/etc/$setting" "etc/$setting"; fi
done
cp /usr/share/base-passwd/passwd.master etc/passwd
cp /usr/share/base-passwd/group.master etc/group
sed 's/:.*/:*:19000:0:99999:7:::/' etc/passwd > etc/shadow
sed 's/:.*/:*::/' etc/group > etc/gshadow
chmod 644 etc/passwd etc/group
chmod 640 etc/shadow etc/gshadow
echo machine > etc/hostname
echo '127.0.0.1 localhost machine' > etc/hosts
cd /
exec bwrap --bind "$root" / "$@"
"""


@contextlib.contextmanager
def opened(
  command: Sequence[str],
  *,
  timeout: float = 600,
  memory_bytes: int = 2 << 30,
  disk_bytes: int = 512 << 20,
  processes: int = 256,
) -> Iterator[subprocess.Popen[bytes]]:
  """Starts a machine and in it `command`, whose stdin and stdout are pipes.

  When the context ends, or a limit is reached, all of the machine's processes
  end; stdout is then at its end.

  Args:
    command: a program that every Debian has, and its arguments.
    timeout: seconds on the clock.
    memory_bytes: of all processes together.
    disk_bytes: what may be written; it is memory, too.
    processes: how many there may be at once.

  Raises:
    errors.UserError: see `check`.
  """
  check()
  with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(
      [
        *sandbox.FIRST_TO_GO,
        *_isolated(command, folder, disk_bytes, memory_bytes, processes),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=ENVIRONMENT,
      start_new_session=True,
    )

    try:
      with sandbox.watched(process, timeout, memory_bytes, processes):
        yield process
    finally:
      _remove_groups(process.pid)


@functools.cache
def check() -> None:
  """Tries it once.

  Raises:
    errors.UserError: this process is not root, something isn't installed, or
      the system allows no namespaces or no overlayfs.
  """
  missing = [
    program
    for program, path in (
      ('bubblewrap', shutil.which('bwrap')),
      ('base-passwd', '/usr/share/base-passwd/passwd.master'),
      ('python3', '/usr/bin/python3'),
    )
    if not path or not os.path.exists(path)  # noqa: PTH110
  ]
  if missing or os.geteuid() != 0:
    raise errors.UserError(
      'A machine for an agent needs root (this process has user id '
      f'{os.geteuid()}) and Debian packages (missing: {missing or "none"}). '
      'Run as root after `apt-get install bubblewrap base-passwd python3`, or '
      'leave the environments out that need a shell.'
    )
  with tempfile.TemporaryDirectory() as folder:
    tried = subprocess.Popen(
      _isolated(['/bin/true'], folder, 1 << 20, 1 << 30, 64),
      env=ENVIRONMENT,
      stderr=subprocess.PIPE,
    )
    _, told = tried.communicate()
    _remove_groups(tried.pid)
  if tried.returncode:
    raise errors.UserError(
      'This system lets nobody build a machine for an agent: '
      f'{told.decode(errors="replace").strip()[-300:]}. Namespaces and '
      'overlayfs must be allowed; or leave the environments out that need a '
      'shell.'
    )


def _remove_groups(pid: int) -> None:
  """Removes the control groups of a machine, once its processes have gone."""
  for group in (
    *GROUPS.glob(f'hephaestus-{pid}'),
    *GROUPS.glob(f'*/hephaestus-{pid}'),
  ):
    for _ in range(100):
      with contextlib.suppress(OSError):
        group.rmdir()
        break
      time.sleep(0.05)


def _isolated(
  command: Sequence[str],
  folder: str,
  disk_bytes: int,
  memory_bytes: int,
  processes: int,
) -> list[str]:
  knobs = [f'/proc/{name}' for name in KNOBS]
  return [
    *('setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount'),
    *('sh', '-c', BUILD, 'sh', folder, str(disk_bytes), ' '.join(SETTINGS)),
    *(str(memory_bytes), str(processes)),
    *('--die-with-parent', '--unshare-pid', '--unshare-net', '--unshare-ipc'),
    *('--unshare-uts', '--unshare-cgroup-try', '--hostname', 'machine'),
    *('--dev', '/dev', '--proc', '/proc'),
    *(word for knob in knobs for word in ('--ro-bind-try', knob, knob)),
    *('--chdir', '/root', '--cap-drop', 'ALL'),
    *(word for name in CAPABILITIES for word in ('--cap-add', name)),
    *('--', *command),
  ]
