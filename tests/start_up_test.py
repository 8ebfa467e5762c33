"""The training process, as a person starts it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from hephaestus_jax import main
from hephaestus_jax.observability import goodput, profiler

sys.path.append(str(pathlib.Path(__file__).parent))
import tiny  # noqa: E402

HEAVY = {'apache_beam', 'seqio', 'tensorflow', 'tensorflow_datasets', 'wandb'}


@pytest.mark.slow
def test_a_training_process_imports_no_data_library_and_tells_its_time(
  tmp_path,
):
  tiny.write_cache(tmp_path / 'cache', {'a': 0.7, 'b': 0.3})
  run_file = tiny.run_file(
    tmp_path, TRAIN_STEPS=4, PROFILE_AT=2, PROFILE_STEPS=2
  )
  command = [sys.executable, '-X', 'importtime', '-m', 'hephaestus_jax']
  process = subprocess.run(
    [*command, 'train', str(run_file)],
    capture_output=True,
    text=True,
    check=False,
    cwd=main.ROOT,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'},
  )
  assert process.returncode == 0, process.stderr[-2000:]
  lines = re.findall(r'import time:.*\| +(\S+)', process.stderr)
  imported = {name.split('.')[0] for name in lines}
  assert {'hephaestus_jax', 'jax', 'orbax'} <= imported
  assert not imported & HEAVY
  stage = tmp_path / 'run' / 'stage1'
  metrics = (stage / 'metrics.jsonl').read_text().splitlines()
  first, *others = [json.loads(line) for line in metrics]
  parts = ('imports', 'compile', 'restore')
  assert (
    0
    < sum(first[f'start_up/{part}'] for part in parts)
    < first['start_up/total']
  )
  assert all('start_up/total' not in line for line in others)
  assert 0 < others[-1]['goodput'] < 1
  assert len((tmp_path / 'run' / goodput.FILE).read_text().splitlines()) == 1
  assert list((stage / profiler.FOLDER).rglob('*.xplane.pb'))
