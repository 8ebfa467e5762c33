"""Files of JSON lines that each tell their step, written during training.

A process that is killed may leave half a line, and lines of steps that the next
one, resuming from a checkpoint, takes again.
"""

import json
import pathlib
from typing import Any


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The whole lines of a file; none where there is no such file.

  '{"step": 1, "loss": 2.5}\\n{"step": 2, "lo' reads as the first alone.
  """
  if not path.exists():
    return []
  lines = path.read_text().splitlines(keepends=True)
  return [json.loads(line) for line in lines if line.endswith('\n')]


def rewind(
  path: pathlib.Path, resumed_step: int | None
) -> list[dict[str, Any]]:
  """The lines that stay, which the file then holds and nothing else.

  Args:
    path: the file.
    resumed_step: the checkpoint's, after which everything is forgotten; None
      forgets everything.
  """
  last = -1 if resumed_step is None else resumed_step
  kept = [line for line in read(path) if line['step'] <= last]
  partial = path.with_name(path.name + '.partial')
  partial.write_text(''.join(json.dumps(line) + '\n' for line in kept))
  partial.replace(path)
  return kept
