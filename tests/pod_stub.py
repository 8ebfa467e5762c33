"""Stands for gcloud and for what it reaches in tpu_scripts_test.py.

$POD_STUB is the folder of everything that it knows:

calls         each call and its arguments, in order; see `calls`
future        what `queued-resources describe` says next, a line a time; the
              last line stays. 'ACTIVE exited' also sets the service's state,
              'ACTIVE preempted' and 'ACTIVE unreachable' that of the machines
now           the line that holds; absent where there is no pod
worker-0/ ... the machines' home folders
mounted       if it is there, so is the storage
meanwhile     a program that runs when the pod is suspended
"""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

# What runs on a machine: one program with many names, and a quick one.
MACHINE = r"""#!/bin/bash
name=${0##*/}
printf '%s\x1f' "$name" "$@" >> "$POD_STUB/calls"
printf '\x1e' >> "$POD_STUB/calls"
copy() { mkdir -p "${1%/*}" && cp "$0" "$1"; }
case "$name $1 $2" in
  hostname*) basename "$HOME" ;;
  sudo*) exec "$@" ;;
  'systemctl show'*) cat "$HOME/service" 2> /dev/null || echo dead ;;
  'systemctl stop'*) rm -f "$HOME/service" ;;
  systemd-run*) echo running > "$HOME/service" ;;
  mountpoint*) test -f "$POD_STUB/mounted" ;;
  python3*) copy "$HOME/.local/bin/uv" ;;
  'uv python find') echo /python/3.11 ;;
  make*) copy "$HOME/hephaestus/.venv/bin/pip" ;;
esac
"""
NAMES = (
  'apt-get',
  'gcsfuse',
  'hostname',
  'make',
  'mount',
  'mountpoint',
  'python3',
  'sudo',
  'systemctl',
  'systemd-run',
)
MACHINES = ('preempted', 'unreachable')


def install(folder: pathlib.Path) -> None:
  """Writes gcloud and what runs on a machine to `folder`."""
  folder.mkdir()
  gcloud = f'#!{sys.executable} -IS\n' + pathlib.Path(__file__).read_text()
  for name, text in {'gcloud': gcloud, **dict.fromkeys(NAMES, MACHINE)}.items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def calls(stub: pathlib.Path, name: str) -> list[list[str]]:
  """The arguments of every call of `name`, in order."""
  file = stub / 'calls'
  text = file.read_text() if file.exists() else ''
  found = [call.split('\x1f')[:-1] for call in text.split('\x1e')[:-1]]
  return [arguments for called, *arguments in found if called == name]


def gcloud(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  with (stub / 'calls').open('a') as file:
    file.write(''.join(f'{word}\x1f' for word in ('gcloud', *arguments)))
    file.write('\x1e')
  match list(arguments):
    case 'compute', 'tpus', 'queued-resources', verb, *rest:
      verbs = {
        'create': create,
        'describe': describe,
        'ssh': ssh,
        'scp': scp,
        'delete': delete,
      }
      return verbs[verb](stub, rest)
    case 'compute', 'tpus', 'tpu-vm', 'describe', *_:
      print('PREEMPTED' if condition(stub) == 'preempted' else 'READY')
      return 0
  return 2


def condition(stub: pathlib.Path) -> str:
  """What holds besides the queued resource's state, or ''."""
  return (stub / 'now').read_text().partition(' ')[2]


def homes(stub: pathlib.Path) -> list[pathlib.Path]:
  return sorted(stub.glob('worker-*'))


def create(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  del arguments
  if (stub / 'now').exists():
    print('ALREADY_EXISTS', file=sys.stderr)
    return 1
  (stub / 'now').write_text('ACTIVE')
  for worker in range(int(os.environ['POD_WORKERS'])):
    (stub / f'worker-{worker}').mkdir()
  return 0


def describe(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  now, future = stub / 'now', stub / 'future'
  if not now.exists():
    print('ERROR: (gcloud) NOT_FOUND: no such resource', file=sys.stderr)
    return 1
  if '--format=value(state.state)' not in arguments:
    print('state: as you see')
    return 0
  line, *later = future.read_text().splitlines()
  future.write_text('\n'.join(later or [line]))
  now.write_text(line)
  state, _, more = line.partition(' ')
  for home in homes(stub):
    if more and more not in MACHINES:
      (home / 'service').write_text(more)
    if state == 'SUSPENDED' or more == 'preempted':
      shutil.rmtree(home)
      home.mkdir()
  if state == 'SUSPENDED' and (stub / 'meanwhile').exists():
    subprocess.run([stub / 'meanwhile'], check=True)
  print(state)
  return 0


def ssh(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  now = (stub / 'now').read_text() if (stub / 'now').exists() else ''
  if not now.startswith('ACTIVE') or condition(stub) in MACHINES:
    # As the real one does, when it finds no machine to go to.
    print('WARNING: Could not prepare all 1 nodes', file=sys.stderr)
    return 0
  (command,) = [
    argument.removeprefix('--command=')
    for argument in arguments
    if argument.startswith('--command=')
  ]
  status = 0
  for home in homes(stub):
    # A machine knows nothing of the settings here.
    known = {k: v for k, v in os.environ.items() if not k.startswith('POD_')}
    done = subprocess.run(
      ['bash', '-c', command],
      cwd=home,
      env=known | {'HOME': str(home), 'POD_STUB': str(stub)},
    )
    status = done.returncode or status
  return status


def scp(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  *sources, target = [a for a in arguments if not a.startswith('--')]
  if ':' in sources[0]:
    source = pathlib.Path(sources[0].partition(':')[2])
    shutil.copytree(source, pathlib.Path(target) / source.name)
    return 0
  for home in homes(stub):
    for source in sources:
      shutil.copy(source, home / target.partition(':')[2])
  return 0


def delete(stub: pathlib.Path, arguments: Sequence[str]) -> int:
  del arguments
  (stub / 'now').unlink()
  for home in homes(stub):
    shutil.rmtree(home)
  return 0


if __name__ == '__main__':
  sys.exit(gcloud(pathlib.Path(os.environ['POD_STUB']), sys.argv[1:]))
