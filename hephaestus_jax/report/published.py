"""What the paper says, from paper.yaml: every value with its place."""

import functools
import pathlib
from typing import Any

import yaml

FILE = pathlib.Path(__file__).with_name('paper.yaml')


@functools.cache
def paper() -> dict[str, Any]:
  """The paper's values, as paper.yaml has them."""
  return dict(yaml.safe_load(FILE.read_text()))
