"""tpu_scripts/ against a stub of gcloud: nothing here reaches a network."""

import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'tests'))
import pod_stub  # noqa: E402

SCRIPTS = sorted((ROOT / 'tpu_scripts').glob('*.sh'))
WHERE = '--zone=us-east5-a --project=my-project'
RUN = ('train', 'gin/runs/hephaestus_8b.gin')


@dataclasses.dataclass(frozen=True)
class Pod:
  """A repository with the scripts, and a stub's folder."""

  repository: pathlib.Path
  stub: pathlib.Path
  env: dict[str, str]
  commit: str

  def run(
    self, script: str, *arguments: str, **env: str
  ) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
      [str(self.repository / 'tpu_scripts' / script), *arguments],
      capture_output=True,
      text=True,
      cwd=self.stub,
      env=self.env | env,
      timeout=300,
    )

  def future(self, *lines: str) -> None:
    (self.stub / 'future').write_text('\n'.join(lines))

  def calls(self, name: str) -> list[list[str]]:
    return pod_stub.calls(self.stub, name)

  def steps(self) -> list[str]:
    """The calls of gcloud, looks left out, as a word each."""
    steps = []
    for call in self.calls('gcloud'):
      verb, command = call[3], shlex.join(call)
      if 'worker_setup.sh' in command and verb == 'ssh':
        verb = 'setup'
      elif 'worker_launch.sh' in command:
        verb = 'launch'
      elif 'cp hephaestus.log' in command:
        verb = 'logs'
      elif verb in ('describe', 'ssh'):
        continue  # a look, or the SIGTERM before a restart
      steps.append(verb)
    return steps


@pytest.fixture
def pod(tmp_path: pathlib.Path) -> Pod:
  repository, stub = tmp_path / 'repository', tmp_path / 'stub'
  stub.mkdir()
  pod_stub.install(tmp_path / 'bin')
  (stub / 'mounted').touch()
  shutil.copytree(ROOT / 'tpu_scripts', repository / 'tpu_scripts')
  env = {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'HOME': str(tmp_path),
    'POD_STUB': str(stub),
    'POD_NAME': 'forge',
    'POD_PROJECT': 'my-project',
    'POD_ZONE': 'us-east5-a',
    'POD_MOUNT': str(stub / 'mount'),
    'POD_WORKERS': '2',
    'POD_POLL': '0',
  }

  def git(*words: str) -> str:
    who = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    return subprocess.run(
      ('git', '-C', str(repository), *who, *words),
      check=True,
      capture_output=True,
      text=True,
      env=env,
    ).stdout.strip()

  git('init', '--quiet')
  git('add', '.')
  git('commit', '--quiet', '--message=scripts')
  return Pod(repository, stub, env, git('rev-parse', 'HEAD'))


def expected(pod: Pod) -> dict[str, list[str]]:
  """What each script prints with --dry_run: the commands, as literals."""
  tpus = 'gcloud compute tpus'
  create = (
    f'{tpus} queued-resources create forge --node-id=forge '
    '--accelerator-type=v5p-128 --runtime-version=v2-alpha-tpuv5 --spot '
    f'{WHERE}'
  )
  everywhere = 'forge --node=all --worker=all'
  bundle = f'{pod.repository}/.git/hephaestus.bundle'
  scripts = f'{pod.repository}/tpu_scripts'
  mount = pod.stub / 'mount'

  def ssh(command: str) -> str:
    quoted = f'--command={command}'.replace("'", "'\\''")
    return f"{tpus} queued-resources ssh {everywhere} '{quoted}' {WHERE}"

  setup = [
    f'git -C {pod.repository} update-ref refs/hephaestus/pod {pod.commit}',
    f'git -C {pod.repository} bundle create --quiet {bundle} '
    'refs/hephaestus/pod',
    f'{tpus} queued-resources scp {bundle} {scripts}/worker_setup.sh forge: '
    f'--node=all --worker=all {WHERE}',
    ssh(
      f'bash worker_setup.sh {pod.commit} {mount} 10.0.0.2:/share '
      '&& echo done-on-a-worker'
    ),
  ]

  def state(command: str) -> list[str]:
    return [
      f"{tpus} queued-resources describe forge '--format=value(state.state)' "
      f'{WHERE}',
      ssh(
        f'bash hephaestus/tpu_scripts/worker_state.sh {pod.commit}{command} '
        '|| echo pod:absent'
      ),
      f"{tpus} tpu-vm describe forge '--format=value(state)' {WHERE}",
    ]

  def launch(how: str) -> str:
    return ssh(
      f'bash hephaestus/tpu_scripts/worker_launch.sh {how} train '
      'gin/runs/hephaestus_8b.gin && echo done-on-a-worker'
    )

  stop = ssh(
    '{ sudo systemctl stop --no-block hephaestus || true; } '
    '&& echo done-on-a-worker'
  )
  delete = f'{tpus} queued-resources delete forge --force --quiet {WHERE}'
  return {
    'create.sh': [create],
    'setup.sh': setup,
    'state.sh': state(''),
    'launch.sh': [launch('start')],
    # The sum of what RUN is.
    'watch.sh': [
      *state(' 4255002873-33'),
      *(delete, create, *setup, stop, launch('restart')),
    ],
    'logs.sh': [
      ssh(
        f'mkdir -p {mount}/logs/forge && cp hephaestus.log '
        f'{mount}/logs/forge/$(hostname).log && echo done-on-a-worker'
      ),
      'mkdir -p logs',
      f'{tpus} queued-resources scp forge:{mount}/logs/forge logs --recurse '
      f'--node=0 --worker=0 {WHERE}',
    ],
    'delete.sh': [delete],
  }


def test_dry_run_prints_the_commands_and_runs_none(pod: Pod) -> None:
  for script, lines in expected(pod).items():
    run = RUN if script in ('launch.sh', 'watch.sh') else ()
    done = pod.run(script, '--dry_run', '--storage=10.0.0.2:/share', *run)
    assert (done.returncode, done.stderr) == (0, ''), script
    assert done.stdout.splitlines() == lines, script
  assert not pod.calls('gcloud')
  assert not (pod.repository / '.git/refs/hephaestus').exists()
  assert not (pod.stub / 'logs').exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('gcloud'), reason='needs gcloud')
def test_gcloud_would_take_every_command(
  pod: Pod, tmp_path: pathlib.Path
) -> None:
  lines = [line for group in expected(pod).values() for line in group]
  lines += pod.run(
    'create.sh', '--dry_run', '--slices=2', '--create_flags=--reserved'
  ).stdout.splitlines()
  readme = (ROOT / 'tpu_scripts/README.md').read_text().replace('\\\n', '')
  for name in ('NAME', 'PROJECT', 'ZONE'):
    readme = readme.replace(f'$POD_{name}', pod.env[f'POD_{name}'])
  lines += [line.strip() for line in readme.splitlines()]
  lines = sorted({line for line in lines if line.startswith('gcloud ')})
  commands = tmp_path / 'commands.json'
  commands.write_text(json.dumps([{'command_string': line} for line in lines]))
  # Its parser, and nothing else: no account, no network.
  done = subprocess.run(
    ('gcloud', 'meta', 'lint-gcloud-commands', f'--commands-file={commands}'),
    check=True,
    capture_output=True,
    text=True,
    env=os.environ
    | {
      'CLOUDSDK_CONFIG': str(tmp_path / 'gcloud'),
      'CLOUDSDK_CORE_CHECK_GCE_METADATA': 'false',
      'CLOUDSDK_CORE_DISABLE_USAGE_REPORTING': 'true',
      'CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK': 'true',
    },
  )
  verdicts = json.loads(done.stdout)
  assert len(verdicts) == len(lines)
  refused = {
    verdict['command_string']: verdict['error_message']
    for verdict in verdicts
    if not verdict['success']
  }
  assert not refused


def test_shellcheck_has_nothing_to_say() -> None:
  shellcheck = shutil.which('shellcheck') or shutil.which(
    'shellcheck', path=str(pathlib.Path(sys.executable).parent)
  )
  if shellcheck is None:
    pytest.skip('shellcheck is not installed; `make lint` installs it')
  done = subprocess.run(
    [shellcheck, *SCRIPTS], cwd=ROOT, capture_output=True, text=True
  )
  assert done.stdout == ''


def test_a_run_from_nothing_over_a_preemption_to_its_end(pod: Pod) -> None:
  for script in ('create.sh', 'setup.sh'):
    assert pod.run(script).returncode == 0
  assert pod.run('launch.sh', *RUN).returncode == 0
  pod.future(
    'ACTIVE running',
    'SUSPENDING',
    'SUSPENDED',
    'WAITING_FOR_RESOURCES',
    'PROVISIONING',
    'ACTIVE',
    'ACTIVE running',
    'ACTIVE exited',
  )
  done = pod.run('watch.sh', *RUN)
  assert done.returncode == 0, done.stderr
  said = [line.partition('forge: ')[2] for line in done.stdout.splitlines()]
  assert [line for line in said if line] == [
    'ACTIVE running',
    'SUSPENDING -',
    'SUSPENDED -',
    'the pod is gone (failure 1 of 10)',
    'NONE -',
    'WAITING_FOR_RESOURCES -',
    'PROVISIONING -',
    'ACTIVE absent',
    'ACTIVE running',
    'ACTIVE ended',
    'the run has ended. The pod is still billed: logs.sh, delete.sh.',
  ]
  assert pod.run('logs.sh').returncode == 0
  logs = {path.name: path for path in (pod.stub / 'logs/forge').iterdir()}
  assert set(logs) == {'worker-0.log', 'worker-1.log'}
  assert 'hephaestus train' in logs['worker-1.log'].read_text()
  assert pod.run('delete.sh').returncode == 0
  once = ['create', 'scp', 'setup', 'launch']
  assert pod.steps() == [*once, 'delete', *once, 'logs', 'scp', 'delete']


def test_watch_alone_makes_all_that_is_missing(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE exited')
  assert pod.run('watch.sh', *RUN).returncode == 0
  assert pod.steps() == ['create', 'scp', 'setup', 'launch']


def test_watch_takes_the_end_of_another_command_for_none(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE exited')
  assert pod.run('watch.sh', 'convert', RUN[1]).returncode == 0
  pod.future('ACTIVE exited', 'ACTIVE exited')
  done = pod.run('watch.sh', *RUN)
  assert 'forge: ACTIVE idle' in done.stdout
  assert pod.steps() == ['create', 'scp', 'setup', 'launch', 'launch']
  assert 'failure' not in done.stdout


def test_watch_leaves_another_run_alone(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE running')
  pod.run('create.sh')
  pod.run('setup.sh')
  pod.run('launch.sh', 'convert', RUN[1])
  before = pod.steps()
  done = pod.run('watch.sh', *RUN)
  assert done.returncode == 1
  assert 'another run is there' in done.stdout
  assert pod.steps() == before
  assert pod.run('state.sh').stdout == 'ACTIVE running\n'


def test_watch_goes_on_with_the_commit_that_it_began_with(pod: Pod) -> None:
  meanwhile = pod.stub / 'meanwhile'
  meanwhile.write_text(
    f'#!/bin/sh\ncd {pod.repository} && touch later && git add later && '
    'git -c user.name=a -c user.email=a@b commit --quiet --message=later\n'
  )
  meanwhile.chmod(0o755)
  pod.future('ACTIVE', 'SUSPENDED', 'ACTIVE', 'ACTIVE exited')
  done = pod.run('watch.sh', *RUN, POD_WORKERS='1')
  assert done.returncode == 0, done.stderr
  assert (pod.repository / 'later').exists()
  home = pod.stub / 'worker-0'
  assert (home / 'hephaestus.commit').read_text().strip() == pod.commit
  assert (home / 'hephaestus/tpu_scripts/launch.sh').exists()
  assert not (home / 'hephaestus/later').exists()


def test_watch_gives_up_after_so_many_failures(pod: Pod) -> None:
  pod.future('SUSPENDED')
  done = pod.run('watch.sh', '--failures=3', *RUN)
  assert done.returncode == 1
  assert done.stdout.splitlines()[-1].endswith(
    'given up. Where the pod still is, it is billed: logs.sh, delete.sh.'
  )
  assert done.stdout.count('the pod is gone (failure') == 3
  assert pod.steps() == ['create', 'delete', 'create', 'delete', 'create']


def test_watch_starts_a_failed_run_again_and_keeps_its_log(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE failed', 'ACTIVE running', 'ACTIVE exited')
  done = pod.run('watch.sh', *RUN)
  assert 'the run failed, or was stopped (failure 1 of 10)' in done.stdout
  assert pod.steps() == [
    *('create', 'scp', 'setup', 'launch'),
    *('logs', 'scp', 'launch'),
  ]


def test_failures_are_forgotten_when_a_run_is_steady(pod: Pod) -> None:
  bumpy = ['ACTIVE unreachable', 'ACTIVE running'] * 2 + ['ACTIVE exited']
  pod.future('ACTIVE', *bumpy)
  limit = {'POD_FAILURES': '2', 'POD_WORKERS': '1'}
  assert pod.run('watch.sh', *RUN, **limit).returncode == 1
  pod.future(*bumpy)
  assert pod.run('watch.sh', '--steady=0', *RUN, **limit).returncode == 0


def test_a_node_may_be_preempted_while_its_queue_says_active(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE preempted', 'ACTIVE', 'ACTIVE exited')
  assert pod.run('watch.sh', *RUN).returncode == 0
  once = ['create', 'scp', 'setup', 'launch']
  assert pod.steps() == [*once, 'delete', *once]


def test_a_pod_that_only_does_not_answer_is_not_deleted(pod: Pod) -> None:
  pod.future('ACTIVE', 'ACTIVE unreachable')
  done = pod.run('watch.sh', '--failures=4', *RUN)
  assert done.returncode == 1
  assert 'not every worker answers (failure 4 of 4)' in done.stdout
  assert 'delete' not in pod.steps()


def test_a_worker_that_was_left_out_is_a_failure(pod: Pod) -> None:
  pod.run('create.sh')
  done = pod.run('setup.sh', POD_WORKERS='3')
  assert done.returncode == 1
  assert '2 of the 3 workers of forge did it' in done.stderr


def test_a_run_that_is_there_is_ended_only_when_asked(pod: Pod) -> None:
  pod.run('create.sh')
  pod.run('setup.sh')
  assert pod.run('launch.sh', *RUN).returncode == 0
  done = pod.run('launch.sh', *RUN)
  assert done.returncode == 1
  assert 'worker-1: a run is there. launch.sh --restart ends' in done.stderr
  before = len(pod.calls('systemctl'))
  assert pod.run('launch.sh', '--restart', *RUN).returncode == 0
  # All of the workers are told before the first one is waited for.
  stops = [c for c in pod.calls('systemctl')[before:] if c[0] == 'stop']
  assert [stop[1] for stop in stops] == ['--no-block'] * 2 + ['hephaestus'] * 2


def test_the_run_is_a_service_that_gets_sigterm(pod: Pod) -> None:
  pod.run('create.sh')
  pod.run('setup.sh')
  pod.run('launch.sh', *RUN)
  home = pod.stub / 'worker-0'
  assert pod.calls('systemd-run')[0] == [
    '--quiet',
    '--unit=hephaestus',
    f'--uid={os.getuid()}',
    f'--gid={os.getgid()}',
    f'--working-directory={home}/hephaestus',
    '--setenv=PYTHONUNBUFFERED=1',
    f'--property=EnvironmentFile=-{home}/hephaestus.env',
    f'--property=StandardOutput=append:{home}/hephaestus.log',
    f'--property=StandardError=append:{home}/hephaestus.log',
    '--property=KillMode=mixed',
    '--property=TimeoutStopSec=600',
    '--property=RemainAfterExit=yes',
    '/bin/bash',
    f'{home}/hephaestus.command',
  ]


def test_arguments_reach_the_run_as_they_were_typed(pod: Pod) -> None:
  arguments = [
    'train',
    '--gin.LICENCES=[\'MIT\', "BSD"]',
    '--gin.RUN_DIR=/mnt/a b/$HOME;rm -rf ~',
    '--gin.NAME=`id`|*',
    "--gin.SPACE=two  spaces\nand a line, it's",
  ]
  pod.run('create.sh')
  pod.run('setup.sh')
  assert pod.run('launch.sh', *arguments).returncode == 0
  checkout = pod.stub / 'worker-1/hephaestus'
  program = checkout / '.venv/bin/hephaestus'
  program.write_text(
    f'#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))'
  )
  program.chmod(0o755)
  said = subprocess.run(
    ['bash', '../hephaestus.command'],
    cwd=checkout,
    check=True,
    capture_output=True,
    text=True,
  )
  assert json.loads(said.stdout) == arguments


@pytest.mark.parametrize(
  'flag',
  [
    '--name=a b',
    '--name=a;id',
    '--name=$(id)',
    '--name=Forge',
    '--name=',
    '--name=-a',
    '--project=p;id',
    '--zone=us-east5',
    '--accelerator_type=v5p-128;id',
    '--accelerator_type=v9-8',
    '--runtime_version=a b',
    '--slices=0',
    '--spot=yes',
    '--storage=10.0.0.2:/a b',
    '--storage=gs://a/$(id)',
    '--storage=/local',
    '--mount=/mnt/a b',
    '--poll=x',
    '--failures=0',
    '--nmae=forge',
    '--restart',
    '--',
  ],
)
def test_what_is_no_setting_is_refused_before_anything_runs(
  pod: Pod, flag: str
) -> None:
  done = pod.run('create.sh', flag)
  assert done.returncode == 2
  assert done.stderr.startswith('create.sh: ')
  assert len(done.stderr.splitlines()) == 1
  assert not pod.calls('gcloud')


def test_a_commit_that_is_none_is_refused(pod: Pod) -> None:
  done = pod.run('setup.sh', '--commit=no such')
  assert done.returncode == 2
  assert 'is no commit of' in done.stderr


def test_a_flag_holds_over_the_environment_and_that_over_the_file(
  pod: Pod, tmp_path: pathlib.Path
) -> None:
  file = tmp_path / 'my_pod.env'
  file.write_text(
    (ROOT / 'tpu_scripts/pod.env')
    .read_text()
    .replace('POD_SLICES:=1', 'POD_SLICES:=4')
    .replace('POD_SPOT:=true', 'POD_SPOT:=false')
  )
  done = pod.run(
    'create.sh',
    *('--dry_run', '--accelerator_type', 'v6e-256', '--name=flag'),
    POD_ENV=str(file),
    POD_ACCELERATOR_TYPE='v4-8',
    POD_SLICES='2',
  )
  assert done.stdout == (
    'gcloud compute tpus queued-resources create flag --node-count=2 '
    '--node-prefix=flag --accelerator-type=v6e-256 '
    f'--runtime-version=v2-alpha-tpuv6e {WHERE}\n'
  )


@pytest.mark.parametrize(
  ('kind', 'slices', 'runtime', 'workers'),
  [
    ('v4-8', '1', 'tpu-ubuntu2204-base', '1'),
    ('v4-64', '1', 'tpu-ubuntu2204-base', '8'),
    ('v5litepod-8', '1', 'v2-alpha-tpuv5-lite', '1'),
    ('v5litepod-256', '1', 'v2-alpha-tpuv5-lite', '64'),
    ('v5p-128', '2', 'v2-alpha-tpuv5', '32'),
    ('v6e-256', '1', 'v2-alpha-tpuv6e', '64'),
  ],
)
def test_a_type_says_its_runtime_and_its_machines(
  pod: Pod, kind: str, slices: str, runtime: str, workers: str
) -> None:
  settings = pod.repository / 'tpu_scripts/settings.sh'
  done = subprocess.run(
    ['bash', '-c', f'set -eu; source {settings}; echo $RUNTIME $WORKERS'],
    capture_output=True,
    text=True,
    env=pod.env
    | {'POD_ACCELERATOR_TYPE': kind, 'POD_SLICES': slices, 'POD_WORKERS': ''},
  )
  assert done.stdout.split() == [runtime, workers]


def test_tokens_go_as_a_file_and_are_in_no_command_or_output(
  pod: Pod, tmp_path: pathlib.Path
) -> None:
  tokens = tmp_path / 'tokens.env'
  tokens.write_text('WANDB_API_KEY=s3cret\n')
  tokens.chmod(0o644)
  pod.run('create.sh')
  done = pod.run('setup.sh', f'--worker_env={tokens}')
  assert done.returncode == 2
  assert 'chmod 600 it' in done.stderr
  tokens.chmod(0o600)
  done = pod.run('setup.sh', f'--worker_env={tokens}')
  assert done.returncode == 0
  done = pod.run('launch.sh', f'--worker_env={tokens}', *RUN)
  arrived = pod.stub / 'worker-1/hephaestus.env'
  assert arrived.read_text() == 'WANDB_API_KEY=s3cret\n'
  assert arrived.stat().st_mode & 0o777 == 0o600
  assert 's3cret' not in (pod.stub / 'calls').read_text()
  assert 's3cret' not in done.stdout + done.stderr


@pytest.mark.parametrize(
  ('storage', 'name', 'arguments'),
  [
    (
      '10.0.0.2:/share',
      'mount',
      ['-t', 'nfs', '-o', 'hard,noatime', '10.0.0.2:/share', 'MOUNT'],
    ),
    ('gs://my-bucket', 'gcsfuse', ['--implicit-dirs', 'my-bucket', 'MOUNT']),
  ],
)
def test_setup_mounts_the_storage(
  pod: Pod, storage: str, name: str, arguments: list[str]
) -> None:
  (pod.stub / 'mounted').unlink()
  pod.run('create.sh')
  done = pod.run('setup.sh', f'--storage={storage}')
  assert done.returncode == 0, done.stderr
  mount = str(pod.stub / 'mount')
  called = [word if word != 'MOUNT' else mount for word in arguments]
  assert pod.calls(name) == [called] * 2


def test_setup_installs_what_the_project_pins(pod: Pod) -> None:
  pod.run('create.sh')
  assert pod.run('setup.sh').returncode == 0
  make = ['--silent', '-C', 'hephaestus', 'install', 'PYTHON=/python/3.11']
  assert pod.calls('make') == [make] * 2
  pip = [
    *('install', '--quiet', '--no-compile', '--no-deps'),
    *('-r', 'hephaestus/requirements/tpu.txt'),
  ]
  assert pod.calls('pip') == [pip] * 2
  assert (ROOT / 'requirements/tpu.txt').exists()


def test_help_names_every_setting(pod: Pod) -> None:
  text = (ROOT / 'tpu_scripts/pod.env').read_text()
  settings = [
    line.removeprefix(': "${POD_').partition(':')[0].lower()
    for line in text.splitlines()
    if not line.startswith('#')
  ]
  for script in expected(pod):
    done = pod.run(script, '--help')
    assert done.returncode == 0
    assert done.stdout.startswith(f'{script} [')
    for setting in settings:
      assert f'  --{setting} ' in done.stdout
