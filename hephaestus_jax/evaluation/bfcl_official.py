"""The way to BFCL's own code: installed apart, and run in the sandbox alone."""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import errors, sandbox
from hephaestus_jax.evaluation import bfcl_checker

CHECKER = pathlib.Path(bfcl_checker.__file__)
CHECK_SECONDS = 120  # for a batch of lines; thousands take a few
# Lines of one process: what one of them breaks is asked again one by one.
OUTPUT_BYTES = 256 << 20


def read_entries(
  folder: pathlib.Path,
  categories: Sequence[str],
  isolation: str,
  asking: str = bfcl_checker.TOOLS,
) -> list[dict[str, Any]]:
  """The entries of these categories, in the order of their files.

  Args:
    asking: bfcl_checker.TOOLS gives function documents, PROMPTING the official
      text that holds them.

  Returns:
    [{'id', 'category', 'asking', 'turns': [[{'role', 'content'}]],
    'functions': [{'name', 'description', 'parameters'}], 'added': {turn:
    [function]}}]. `added` are functions that are offered from that turn on.
    Java and JavaScript functions take their arguments as source text, and say
    so: that is how BFCL asks.
  """
  result = _run(folder, ['entries', asking, *categories], b'', isolation)
  if result.returncode:
    raise _broken(folder, result)
  return [json.loads(line) for line in result.stdout.splitlines()]


def check(
  folder: pathlib.Path, requests: Sequence[Mapping[str, Any]], isolation: str
) -> list[dict[str, Any]]:
  """The official verdicts on {'id', 'category', 'asking', 'result'}.

  Returns:
    [{'id', 'valid', 'reason', 'message'}]; 'checker_stopped' is the reason of a
    result that ended the checker.
  """
  return _ask(folder, 'check', requests, isolation, _unjudged)


def play(
  folder: pathlib.Path, requests: Sequence[Mapping[str, Any]], isolation: str
) -> list[dict[str, Any]]:
  """What the last results of episodes do: see `bfcl_checker`.

  Returns:
    [{'id', 'observations', 'told', 'stopped'}]; `stopped` says why the process
    ended at this one, as '' does that it went on.
  """
  return _ask(folder, 'play', requests, isolation, _unplayed)


def _unjudged(request: Mapping[str, Any], why: str) -> dict[str, Any]:
  return {
    'id': request['id'],
    'valid': False,
    'reason': 'checker_stopped',
    'message': why,
  }


def _unplayed(request: Mapping[str, Any], why: str) -> dict[str, Any]:
  return {'id': request['id'], 'observations': [], 'told': '', 'stopped': why}


def _ask(
  folder: pathlib.Path,
  command: str,
  requests: Sequence[Mapping[str, Any]],
  isolation: str,
  without: Any,
) -> list[dict[str, Any]]:
  """An answer for each request; the process is started again if one ends it."""
  answers: list[dict[str, Any]] = []
  while len(answers) < len(requests):
    lines = [json.dumps(request) for request in requests[len(answers) :]]
    stdin = '\n'.join(lines).encode() + b'\n'
    result = _run(folder, [command], stdin, isolation)
    # A line without its end was cut off.
    answered = [json.loads(line) for line in result.stdout.split(b'\n')[:-1]]
    if answered[:1] != [bfcl_checker.READY]:
      raise _broken(folder, result)
    answers += answered[1:]
    if len(answers) < len(requests):
      if not result.stopped and result.returncode in (0, 1):
        raise _broken(folder, result)  # a bug, and not what an answer did
      # Such as a pattern that takes forever to match what the model wrote.
      why = result.stopped or f'exit status {result.returncode}'
      answers.append(without(requests[len(answers)], why))
  return answers


def _run(
  folder: pathlib.Path, arguments: Sequence[str], stdin: bytes, isolation: str
) -> sandbox.Result:
  """bfcl_checker.py on the interpreter itself, not on our environment."""
  package = folder.resolve()
  return sandbox.run(
    [str(_interpreter()), '-I', str(CHECKER), str(package), *arguments],
    stdin=stdin,
    readable=[str(package), str(CHECKER), sys.base_prefix],
    timeout=CHECK_SECONDS,
    output_bytes=OUTPUT_BYTES,
    method=isolation,
  )


def _interpreter() -> pathlib.Path:
  """The Python that the virtual environment was made from."""
  return pathlib.Path(sys.executable).resolve()


def _broken(folder: pathlib.Path, result: sandbox.Result) -> errors.UserError:
  error = result.stderr.decode(errors='replace').strip().splitlines()
  return errors.UserError(
    f"BFCL's own code in {folder} ended with {result.returncode} "
    f'{result.stopped}: {error[-1] if error else "no message"}. Delete the '
    'folder to install it again.'
  )
