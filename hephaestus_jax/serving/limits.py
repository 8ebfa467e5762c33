"""What requests to a server may cost."""

import dataclasses

from hephaestus_jax import errors


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one request may cost, and all of them.

  Attributes:
    body_bytes: of a request.
    body_seconds: for a request to arrive.
    tokens: of a completion.
    seconds: for an answer, the waiting included.
    waiting: answers that may wait for a slot.
  """

  body_bytes: int = 4 << 20
  body_seconds: float = 20.0
  tokens: int = 2048
  seconds: float = 600.0
  waiting: int = 256

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      if getattr(self, field.name) <= 0:
        raise errors.UserError(
          f'serve: {field.name} = {getattr(self, field.name)} is not above 0.'
        )
