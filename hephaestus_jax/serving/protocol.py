"""What the OpenAI API's requests hold, and how a refusal is said.

A field that can't be honoured is refused by name, never passed over; those that
only label a request (`user`, `metadata`) are accepted.
"""

from typing import Any, Literal

import pydantic

from hephaestus_jax.decode import sampling

MOST_CHOICES = 16
MOST_STOPS = 16
Name = pydantic.constr(pattern=r'^[A-Za-z0-9_.\-]{1,128}$')


class RefusedError(Exception):
  """A request that gets an error for an answer."""

  def __init__(
    self,
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
  ) -> None:
    super().__init__(message)
    self.status = status
    self.param = param
    self.code = code

  def body(self) -> dict[str, Any]:
    """{'error': {'message', 'type', 'param', 'code'}}."""
    kinds = {401: 'authentication_error', 429: 'rate_limit_error'}
    kind = 'server_error' if self.status >= 500 else 'invalid_request_error'
    return {
      'error': {
        'message': str(self),
        'type': kinds.get(self.status, kind),
        'param': self.param,
        'code': self.code,
      }
    }


class _Part(pydantic.BaseModel):
  model_config = pydantic.ConfigDict(extra='forbid')


class TextPart(_Part):
  """A piece of a message's content; there are no images or sounds."""

  type: Literal['text']
  text: str


class CalledFunction(_Part):
  """A call as the API tells it: the arguments are JSON in a string."""

  name: Name  # type: ignore[valid-type]
  arguments: str


class ToolCall(_Part):
  """One call of an assistant's message."""

  id: str
  type: Literal['function'] = 'function'
  function: CalledFunction
  index: int | None = None  # that a client kept from a stream


class Message(_Part):
  """One message of a conversation."""

  role: Literal['system', 'developer', 'user', 'assistant', 'tool']
  content: str | list[TextPart] | None = None
  tool_calls: list[ToolCall] | None = None
  tool_call_id: str | None = None
  name: str | None = None
  refusal: None = None
  annotations: list[Any] | None = None
  audio: None = None
  function_call: None = None

  def words(self) -> str:
    """The content as one text."""
    if isinstance(self.content, list):
      return ''.join(part.text for part in self.content)
    return self.content or ''

  @pydantic.model_validator(mode='after')
  def _is_whole(self) -> 'Message':
    if self.tool_calls and self.role != 'assistant':
      raise ValueError(f"a message of role '{self.role}' makes no tool_calls")
    if self.content is None and not self.tool_calls:
      raise ValueError('content is missing')
    return self


class Function(_Part):
  """A function that is offered."""

  name: Name  # type: ignore[valid-type]
  description: str | None = None
  parameters: dict[str, Any] | None = None
  strict: bool | None = None


class Tool(_Part):
  """A tool that is offered."""

  type: Literal['function']
  function: Function


class FunctionName(_Part):
  """A function by its name."""

  name: Name  # type: ignore[valid-type]


class ToolChoice(_Part):
  """The one tool to call."""

  type: Literal['function']
  function: FunctionName


class JsonSchema(_Part):
  """A schema that the answer is to follow; it always does."""

  name: str | None = None
  description: str | None = None
  json_schema: dict[str, Any] = pydantic.Field(alias='schema')
  strict: bool | None = None


class ResponseFormat(_Part):
  """What the answer is to be."""

  type: Literal['text', 'json_object', 'json_schema']
  json_schema: JsonSchema | None = None

  @pydantic.model_validator(mode='after')
  def _is_whole(self) -> 'ResponseFormat':
    if (self.type == 'json_schema') != (self.json_schema is not None):
      raise ValueError("json_schema goes with type 'json_schema'")
    return self


class StreamOptions(_Part):
  """How a stream ends."""

  include_usage: bool = False
  include_obfuscation: bool | None = None


class Sampled(_Part):
  """What both kinds of request say."""

  model: str
  temperature: float = pydantic.Field(1.0, ge=0, le=2)
  top_p: float = pydantic.Field(1.0, gt=0, le=1)
  n: int = pydantic.Field(1, ge=1, le=MOST_CHOICES)
  seed: int | None = None
  stop: str | list[str] | None = None
  stream: bool = False
  stream_options: StreamOptions | None = None
  max_tokens: int | None = pydantic.Field(None, ge=1)
  # Not ours to do: only the value that changes nothing.
  frequency_penalty: Literal[0] | None = None
  presence_penalty: Literal[0] | None = None
  logit_bias: dict[str, float] | None = pydantic.Field(None, max_length=0)
  # Labels.
  user: str | None = None
  metadata: dict[str, str] | None = None
  store: Literal[False] | None = None

  @pydantic.field_validator(
    'frequency_penalty', 'presence_penalty', mode='before'
  )
  @classmethod
  def _zero(cls, value: Any) -> Any:
    return 0 if value == 0.0 else value

  def stops(self) -> tuple[str, ...]:
    """The strings that end an answer."""
    stop = [self.stop] if isinstance(self.stop, str) else self.stop
    return tuple(stop or ())

  @pydantic.model_validator(mode='after')
  def _goes_together(self) -> 'Sampled':
    if len(self.stops()) > MOST_STOPS or not all(self.stops()):
      raise ValueError(
        f'stop has 1 to {MOST_STOPS} strings, none of them empty'
      )
    if self.stream_options is not None and not self.stream:
      raise ValueError('stream_options goes with stream')
    return self

  def include_usage(self) -> bool:
    """Whether a stream ends with the usage."""
    return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Sampled):
  """POST /v1/chat/completions."""

  messages: list[Message] = pydantic.Field(min_length=1)
  max_completion_tokens: int | None = pydantic.Field(None, ge=1)
  logprobs: bool | None = None
  top_logprobs: int | None = pydantic.Field(None, ge=0, le=sampling.MOST_LIKELY)
  tools: list[Tool] | None = None
  tool_choice: Literal['none', 'auto', 'required'] | ToolChoice | None = None
  parallel_tool_calls: bool = True
  response_format: ResponseFormat | None = None

  @pydantic.model_validator(mode='after')
  def _fits(self) -> 'ChatRequest':
    names = [tool.function.name for tool in self.tools or []]
    choice = self.tool_choice
    if choice not in (None, 'none', 'auto') and not names:
      raise ValueError('tool_choice asks for a call, and tools offers none')
    if isinstance(choice, ToolChoice) and choice.function.name not in names:
      raise ValueError(f'tool_choice names {choice.function.name!r}, no tool')
    if len({*names}) < len(names):
      raise ValueError('two tools have one name')
    if self.top_logprobs and not self.logprobs:
      raise ValueError('top_logprobs goes with logprobs')
    if names and self.answer_format() != 'text':
      raise ValueError('response_format and tools exclude each other')
    return self

  def answer_format(self) -> str:
    """'text', 'json_object' or 'json_schema'."""
    return 'text' if self.response_format is None else self.response_format.type

  def offered(self) -> list[dict[str, Any]]:
    """The functions that the model is told of."""
    if self.tool_choice == 'none':
      return []
    return [
      tool.function.model_dump(exclude_none=True, exclude={'strict'})
      for tool in self.tools or []
    ]

  def required(self) -> list[dict[str, Any]]:
    """The functions of which one must be called; none: words will do."""
    if self.tool_choice == 'required':
      return self.offered()
    if isinstance(self.tool_choice, ToolChoice):
      name = self.tool_choice.function.name
      return [tool for tool in self.offered() if tool['name'] == name]
    return []


class CompletionRequest(Sampled):
  """POST /v1/completions."""

  prompt: str | list[int] | list[str] | list[list[int]]
  max_tokens: int | None = pydantic.Field(None, ge=0)
  logprobs: int | None = pydantic.Field(None, ge=0, le=sampling.MOST_LIKELY)
  echo: bool | None = None
  suffix: None = None
  best_of: Literal[1] | None = None

  def prompts(self) -> list[str | list[int]]:
    """Each prompt, as text or as tokens."""
    if isinstance(self.prompt, str):
      return [self.prompt]
    if self.prompt and isinstance(self.prompt[0], int):
      return [self.prompt]
    return list(self.prompt)  # type: ignore[arg-type]

  @pydantic.model_validator(mode='after')
  def _is_few(self) -> 'CompletionRequest':
    if not 1 <= len(self.prompts()) * self.n <= MOST_CHOICES * MOST_CHOICES:
      raise ValueError(f'{len(self.prompts())} prompts, n = {self.n}')
    return self


def read(kind: type[pydantic.BaseModel], body: bytes) -> Any:
  """A request's body.

  Raises:
    RefusedError: it is none; the message names the first field that is wrong.
  """
  try:
    return kind.model_validate_json(body)
  except pydantic.ValidationError as error:
    first = error.errors(include_url=False, include_context=False)[0]
    place = '.'.join(str(part) for part in first['loc'])
    message = f'{place}: {first["msg"]}' if place else first['msg']
    raise RefusedError(400, message, param=place or None) from None
