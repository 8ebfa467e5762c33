"""A documented call -> an instruction or a session to learn from."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from hephaestus_jax import chat
from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import entry, tool, wording

DISTRACTORS = 1  # other tools that an instruction offers: 512 tokens are few
MAX_GIVEN = 1_000  # characters of arguments spelt out in a request
MAX_OBSERVATION = 6_000  # characters of a recorded response


def request(caption: str, arguments: Mapping[str, Any]) -> str:
  """What a user would say to get this call.

  >>> request('To delete a role', {'RoleName': 'Test'})
  'Delete a role. Use role name "Test".'

  Raises:
    entry.MalformedError: the caption says nothing, or there is too much to say.
  """
  text = wording.imperative(caption)
  if not text:
    raise entry.MalformedError('no_request')
  given = wording.given(arguments, text)
  if len(given) > MAX_GIVEN:
    raise entry.MalformedError('arguments_too_long')
  return f'{text} {given}'.strip()


def instruction(
  called: tool.Tool,
  others: Sequence[tool.Tool],
  arguments: Mapping[str, Any],
  said: str,
) -> tuple[document.Segment, ...]:
  """Tools to choose from, request, call.

  The tools stand in order of their names and are cut to the same size, so that
  only their meaning tells which is right.
  """
  offered = [tool.schema(called, arguments)]
  offered += [tool.schema(other, {}) for other in others]
  offered.sort(key=lambda found: found['name'])
  return (
    document.Segment('system', chat.system_prompt(offered)),
    document.Segment('user', said),
    document.Segment('action', chat.call_text(called.name, dict(arguments))),
  )


def session(
  called: tool.Tool, arguments: Mapping[str, Any], said: str, response: str
) -> tuple[document.Segment, ...]:
  """The tool, request, call, and what came back.

  Raises:
    entry.MalformedError: nothing came back, or too much.
  """
  if not response:
    raise entry.MalformedError('no_response')
  if len(response) > MAX_OBSERVATION:
    raise entry.MalformedError('response_too_long')
  return (
    *instruction(called, (), arguments, said),
    document.Segment('observation', response),
  )


def others(names: Sequence[str], name: str) -> list[str]:
  """DISTRACTORS other names, in the order of a hash: the same every time."""
  ranked = sorted(
    (other for other in names if other != name),
    key=lambda other: hashlib.sha256(f'{name} {other}'.encode()).digest(),
  )
  return ranked[:DISTRACTORS]
