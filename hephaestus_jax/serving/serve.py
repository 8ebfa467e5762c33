"""`hephaestus serve`: a checkpoint behind the OpenAI API, until SIGTERM.

The first line on standard output is the address that a client takes as its
base_url. On SIGTERM or SIGINT nothing new is accepted, what is under way is
finished (for `shutdown_seconds` at most), and the process ends with status 0.
"""

import contextlib
import dataclasses
import importlib.util
import ipaddress
import json
import os
import pathlib
import socket
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache as jit_cache
from jax.sharding import Mesh

from hephaestus_jax import (
  artefacts,
  chat,
  checkpoints,
  errors,
  model,
  partitioning,
  tokenizer,
)
from hephaestus_jax.convert import convert, published
from hephaestus_jax.decode import constraints, engine, prompts
from hephaestus_jax.serving import limits as limiting

# What the extra `serve` brings besides llguidance.
LIBRARIES = ('prometheus_client', 'pydantic', 'starlette', 'uvicorn')


def serve(
  *,
  checkpoint: str,
  tokenizer_path: str | None,
  name: str | None,
  chat_format: str,
  host: str,
  port: int,
  key_variable: str,
  slots: int,
  max_length: int,
  chunk: int,
  dtype: str,
  limits: limiting.Limits,
  shutdown_seconds: int,
  mesh: Mesh | None = None,
  compilation_cache: str | None = None,
) -> None:
  """Answers requests until a signal ends it.

  Args:
    checkpoint: a stage's folder (its newest checkpoint) or a step's; an
      import's folder is one, too.
    tokenizer_path: the vocabulary of the training; None: the one that is
      published in an import's folder.
    name: of the model, for clients; None: the checkpoint's folder's.
    chat_format: of its conversations, see `chat.FORMATS`.
    host: the address to listen on. One that is not of this machine alone needs
      a key.
    port: 0: any that is free.
    key_variable: the environment variable that holds the key. Where it is set,
      requests must bring it, on any address.
    slots: answers at once.
    max_length: tokens of a prompt and its answer together, or as many as the
      model was trained with, where those are fewer.
    chunk: see `engine.Engine`.
    dtype: of the computation.
    limits: of a request.
    shutdown_seconds: what is under way may take so long after a signal.
    mesh: the devices; None: all of them.
    compilation_cache: a folder that keeps compiled programs for the next
      process.

  Raises:
    errors.UserError: a library, the checkpoint or its vocabulary isn't there,
      an address can't be had, or needs a key and there is none.
  """
  missing = [name for name in LIBRARIES if not importlib.util.find_spec(name)]
  if missing:
    raise errors.UserError(
      f"serve needs {missing[0]}, which the extra 'serve' brings: pip install "
      '-r requirements/serve.txt.'
    )
  from hephaestus_jax.serving import app, http, metrics, worker

  chat.of_name(chat_format)
  key = _key(host, key_variable)
  with contextlib.closing(_listen(host, port)) as listening:
    if compilation_cache is not None:
      jax.config.update('jax_compilation_cache_dir', compilation_cache)
      jit_cache.reset_cache()  # else the process's first jit has decided it
    stage = checkpoints.find(pathlib.Path(checkpoint)).parents[1]
    vocabulary = _vocabulary(stage, tokenizer_path)
    config = dataclasses.replace(
      convert.trained_config(stage), dtype=dtype, remat='none'
    )
    mesh = partitioning.make_mesh() if mesh is None else mesh
    with jax.set_mesh(mesh) if mesh.size > 1 else contextlib.nullcontext():
      running = engine.Engine(
        config,
        checkpoints.restore_parameters(checkpoint, model.placed(config, mesh)),
        slots=slots,
        max_length=min(max_length, _trained_length(stage) or max_length),
        vocabulary=vocabulary,
        chunk=chunk,
      )
      running.warm_up()
    stop_ids, _ = prompts.stops(vocabulary, chat_format)
    with worker.Worker(running, mesh) as thread:
      service = app.Service(
        name=name or stage.resolve().name,
        running=thread,
        vocabulary=vocabulary,
        chat_format=chat_format,
        grammars=_grammars(vocabulary, stop_ids),
        limits=limits,
        counts=metrics.Metrics(running),
      )
      server = http.server(service, key, shutdown_seconds)
      http.until_signal(server, thread, listening, _address(listening))
    if thread.failure is not None:
      raise thread.failure


def _key(host: str, variable: str) -> str | None:
  """The key that requests must bring. No message repeats it.

  Raises:
    errors.UserError: there is none, and others than this machine may ask.
  """
  key = os.environ.get(variable, '') if variable else ''
  if key and (not key.isascii() or not key.isprintable() or ' ' in key):
    raise errors.UserError(
      f'The environment variable {variable} holds characters that no key has. '
      'Set it to the key alone.'
    )
  if not key and not _is_loopback(host):
    raise errors.UserError(
      f'HOST = {host!r} lets other machines ask, and there is no key in the '
      f'environment variable {variable!r} (KEY_VARIABLE). Set it, or listen on '
      '127.0.0.1.'
    )
  return key or None


def _is_loopback(host: str) -> bool:
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def _listen(host: str, port: int) -> socket.socket:
  """A socket that accepts connections; what comes early waits in its queue.

  Raises:
    errors.UserError: the address can't be had.
  """
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family, backlog=1024)
  except (OSError, OverflowError) as error:
    raise errors.UserError(
      f'HOST = {host!r}, PORT = {port}: {error}. Name others; PORT = 0 is any '
      'that is free.'
    ) from None


def _address(listening: socket.socket) -> str:
  host, port = listening.getsockname()[:2]
  return (
    f'http://[{host}]:{port}/v1' if ':' in host else f'http://{host}:{port}/v1'
  )


def _vocabulary(
  stage: pathlib.Path, tokenizer_path: str | None
) -> tokenizer.Tokenizer:
  """The vocabulary that a checkpoint was trained with.

  Raises:
    errors.UserError: it isn't there, or is another.
  """
  if tokenizer_path is None:
    found = published.vocabulary(stage / published.FOLDER)
    if found is None:
      raise errors.UserError(
        f'{stage} has no vocabulary in {published.FOLDER}/. Name the one that '
        'it was trained with: --gin.TOKENIZER=FILE.'
      )
  else:
    found = tokenizer.load(tokenizer_path)
  trained = artefacts.read_inputs(stage)['data']['tokenizer']
  if found.fingerprint != trained:
    raise errors.UserError(
      f'{tokenizer_path or stage} is the vocabulary {found.fingerprint}, and '
      f'{stage} was trained with {trained}. Set TOKENIZER to that one.'
    )
  return found


def _trained_length(stage: pathlib.Path) -> int | None:
  """Tokens that the model knows positions of, where that is known."""
  trained: Any = artefacts.read_inputs(stage)['data']
  if 'sequence_length' in trained:
    return int(trained['sequence_length'])
  path = stage / published.FOLDER / published.CONFIG
  if not path.is_file():
    return None
  length = json.loads(path.read_text()).get('max_position_embeddings')
  return length if isinstance(length, int) else None


def _grammars(
  vocabulary: tokenizer.Tokenizer, stop_ids: tuple[int, ...]
) -> constraints.Grammars | None:
  """What constrains answers, where llguidance is installed."""
  if importlib.util.find_spec('llguidance') is None:
    return None
  return constraints.Grammars(vocabulary, stop_ids)
