"""Texts -> unit vectors, by any BERT checkpoint (paper, section 4.2: COCO-DR).

The one module of the corpus that imports JAX: the network is a function of
parameters, runs on whatever devices JAX finds, and cuts each batch over them.
Texts of like length share a batch, and lengths are rounded up to a few, so that
few programs are compiled and little padding is computed.

Array names end in their axes, as in model.py: B batch, L length (queries), S
length (keys), D emb_dim, N heads, H head_dim, F mlp_dim.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hephaestus_jax import errors
from hephaestus_jax.corpus.retrieve import bert_checkpoint

POOLINGS = ('cls', 'mean')
LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
# What is cut off before a text is tokenised. English has 4 to 5 characters in a
# token; no text of words comes near.
CHARACTERS_PER_TOKEN = 16
# Added to the logits of padding: finite, so that softmax never gives NaN.
_HIDDEN = -1e30


@dataclasses.dataclass(frozen=True)
class Encoder:
  """Calls to it turn texts into vectors of length 1.

  A text longer than a chunk is encoded chunk by chunk, up to `chunks` of them,
  and its vector is the mean of theirs; the rest of it doesn't count. The paper
  doesn't say how it cut; COCO-DR is trained on one chunk of at most 512 tokens.

  Attributes:
    checkpoint: a folder that bert_checkpoint reads.
    pooling: 'cls', the first token's vector (COCO-DR), or 'mean' over a chunk's
      tokens (MiniLM and other sentence encoders).
    chunk_tokens: tokens in a chunk, [CLS] and [SEP] included.
    chunks: of a text, at most.
    batch_tokens: tokens in a batch, padding included.
    dtype: of the computation, 'float32' or 'bfloat16' (norms, softmax and
      pooling are float32 always).
  """

  checkpoint: str
  pooling: str
  chunk_tokens: int = 256
  chunks: int = 1
  batch_tokens: int = 8192
  dtype: str = 'float32'

  def __post_init__(self) -> None:
    for name, choices in {
      'pooling': POOLINGS,
      'dtype': ('float32', 'bfloat16'),
    }.items():
      if getattr(self, name) not in choices:
        raise errors.UserError(
          f'encoder.Encoder.{name} = {getattr(self, name)!r} is none of '
          f'{choices}.'
        )
    for name, least in {'chunk_tokens': 3, 'chunks': 1}.items():
      if getattr(self, name) < least:
        raise errors.UserError(
          f'encoder.Encoder.{name} = {getattr(self, name)} is below {least}.'
        )
    if self.batch_tokens < self.chunk_tokens:
      raise errors.UserError(
        f'encoder.Encoder.batch_tokens = {self.batch_tokens} is below '
        f'chunk_tokens = {self.chunk_tokens}.'
      )

  @property
  def dim(self) -> int:
    """How many numbers a vector has."""
    return self._config.emb_dim

  def identity(self) -> Mapping[str, Any]:
    """JSON that the vectors depend on: the checkpoint by its content.

    Raises:
      errors.UserError: the checkpoint isn't there, or isn't one of a BERT.
    """
    _ = self._config  # says what is wrong before files are read
    folder = pathlib.Path(self.checkpoint)
    return dataclasses.asdict(self) | {
      'checkpoint': bert_checkpoint.fingerprint(folder)
    }

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, float32 [len(texts), dim].

    Raises:
      errors.UserError: the checkpoint can't be read.
    """
    owners: dict[int, list[int]] = collections.defaultdict(list)
    chunks: dict[int, list[list[int]]] = collections.defaultdict(list)
    for owner, ids in self._tokenise(texts):
      length = next(n for n in self._lengths if n >= len(ids))
      owners[length].append(owner)
      chunks[length].append(ids)
    sums_BD = np.zeros((len(texts), self.dim), np.float32)
    running = []
    for length in sorted(chunks):
      rows = self._rows(length)
      for start in range(0, len(chunks[length]), rows):
        batch = chunks[length][start : start + rows]
        vectors = self._run(batch, rows, length)
        running.append((owners[length][start : start + rows], vectors))
    # Fetched last: the devices work while the next batches are made.
    for rows_of, vectors in running:
      np.add.at(sums_BD, rows_of, np.asarray(vectors)[: len(rows_of)])
    return sums_BD / np.linalg.norm(sums_BD, axis=-1, keepdims=True)

  def _tokenise(self, texts: Sequence[str]) -> Iterator[tuple[int, list[int]]]:
    """(index of the text, ids of a chunk) of every chunk that counts."""
    limit = self.chunk_tokens * self.chunks * CHARACTERS_PER_TOKEN
    encodings = self._tokenizer.encode_batch_fast([t[:limit] for t in texts])
    for owner, encoding in enumerate(encodings):
      yield owner, encoding.ids
      for more in encoding.overflowing[: self.chunks - 1]:
        yield owner, more.ids

  def _run(
    self, batch: Sequence[Sequence[int]], rows: int, length: int
  ) -> jax.Array:
    """Vectors of chunks, and after them of the rows that fill the batch."""
    tokens_BL = np.zeros((rows, length), np.int32)
    lengths_B = np.ones(rows, np.int32)
    for row, ids in enumerate(batch):
      tokens_BL[row, : len(ids)] = ids
      lengths_B[row] = len(ids)
    tokens_BL, lengths_B = jax.device_put(
      (tokens_BL, lengths_B), NamedSharding(self._mesh, PartitionSpec('data'))
    )
    return self._compiled(self._parameters, tokens_BL, lengths_B)

  def _rows(self, length: int) -> int:
    """Rows of a batch: what `batch_tokens` holds, equally many a device."""
    devices = self._mesh.size
    return max(1, self.batch_tokens // length // devices) * devices

  @functools.cached_property
  def _lengths(self) -> tuple[int, ...]:
    """The lengths that chunks are padded to."""
    below = (length for length in LENGTHS if length < self.chunk_tokens)
    return (*below, self.chunk_tokens)

  @functools.cached_property
  def _config(self) -> bert_checkpoint.Config:
    folder = pathlib.Path(self.checkpoint)
    config = bert_checkpoint.read_config(folder)
    if self.chunk_tokens > config.max_positions:
      raise errors.UserError(
        f'encoder.Encoder.chunk_tokens = {self.chunk_tokens} is more than '
        f'the {config.max_positions} tokens that {folder} can read.'
      )
    trained = bert_checkpoint.read_pooling(folder)
    if trained not in (None, self.pooling):
      raise errors.UserError(
        f"encoder.Encoder.pooling = '{self.pooling}' (POOLING), and {folder} "
        f"was trained with '{trained}'."
      )
    return config

  @functools.cached_property
  def _tokenizer(self) -> tokenizers.Tokenizer:
    folder = pathlib.Path(self.checkpoint)
    read = bert_checkpoint.read_tokenizer(folder, self._config)
    read.enable_truncation(self.chunk_tokens)
    return read

  @functools.cached_property
  def _mesh(self) -> jax.sharding.Mesh:
    """This process's devices in a row; each has all parameters."""
    devices = jax.local_devices()
    return jax.make_mesh(
      (len(devices),), ('data',), (AxisType.Auto,), devices=devices
    )

  @functools.cached_property
  def _parameters(self) -> dict[str, Any]:
    folder = pathlib.Path(self.checkpoint)
    parameters = bert_checkpoint.read_parameters(folder, self._config)
    return jax.device_put(
      parameters, NamedSharding(self._mesh, PartitionSpec())
    )

  @functools.cached_property
  def _compiled(self) -> Any:
    @jax.jit
    def run(
      parameters: dict[str, Any], tokens_BL: jax.Array, lengths_B: jax.Array
    ) -> jax.Array:
      hidden_BLD = forward(
        self._config, parameters, tokens_BL, lengths_B, self.dtype
      )
      return pool(hidden_BLD, lengths_B, self.pooling)

    return run


def forward(
  config: bert_checkpoint.Config,
  parameters: Mapping[str, Any],
  tokens_BL: jax.Array,
  lengths_B: jax.Array,
  dtype: str = 'float32',
) -> jax.Array:
  """Hidden states `hidden_BLD` after the last layer, of token type 0.

  Args:
    config: the network.
    parameters: as `bert_checkpoint.read_parameters` gives them.
    tokens_BL: ids, padded on the right with anything.
    lengths_B: tokens of each row that are no padding; at least 1.
    dtype: of the computation. On a TPU, float32 means float32: its default
      would be bfloat16 products.
  """
  seen_BL = jnp.arange(tokens_BL.shape[1])[None] < lengths_B[:, None]
  hidden_B11S = jnp.where(seen_BL, 0.0, _HIDDEN)[:, None, None]
  x_BLD = parameters['word'][tokens_BL]
  x_BLD += parameters['position'][None, : tokens_BL.shape[1]]
  x_BLD += parameters['type'][None, None]
  x_BLD = _norm(config, parameters['norm'], x_BLD).astype(dtype)

  def layer(
    x_BLD: jax.Array, weights: Mapping[str, Any]
  ) -> tuple[jax.Array, None]:
    out_BLD = _attend(config, weights, x_BLD, hidden_B11S)
    x_BLD = _norm(config, weights['attention_norm'], x_BLD + out_BLD)
    up_BLF = _activate(config, _dense(weights['up'], x_BLD))
    out_BLD = _dense(weights['down'], up_BLF)
    return _norm(config, weights['mlp_norm'], x_BLD + out_BLD), None

  precision = 'highest' if dtype == 'float32' else 'default'
  with jax.default_matmul_precision(precision):
    return jax.lax.scan(layer, x_BLD, parameters['layers'])[0]


def pool(
  hidden_BLD: jax.Array, lengths_B: jax.Array, pooling: str
) -> jax.Array:
  """One vector of length 1 per row, float32."""
  hidden_BLD = hidden_BLD.astype(jnp.float32)
  if pooling == 'cls':
    vectors_BD = hidden_BLD[:, 0]
  else:
    seen_BL = jnp.arange(hidden_BLD.shape[1])[None] < lengths_B[:, None]
    # Their mean points where their sum does.
    vectors_BD = jnp.sum(jnp.where(seen_BL[..., None], hidden_BLD, 0), axis=1)
  return vectors_BD / jnp.linalg.norm(vectors_BD, axis=-1, keepdims=True)


def _attend(
  config: bert_checkpoint.Config,
  weights: Mapping[str, Any],
  x_BLD: jax.Array,
  hidden_B11S: jax.Array,
) -> jax.Array:
  """What each token reads from all tokens that are no padding."""
  B, L, D = x_BLD.shape
  H = D // config.num_heads

  def heads(name: str) -> jax.Array:
    split_BLNH = _dense(weights[name], x_BLD).reshape(B, L, -1, H)
    return jnp.swapaxes(split_BLNH, 1, 2)

  q_BNLH, k_BNSH, v_BNSH = heads('query'), heads('key'), heads('value')
  logits_BNLS = jnp.einsum(
    'BNLH,BNSH->BNLS',
    q_BNLH,
    k_BNSH,
    preferred_element_type=jnp.float32,
  )
  share_BNLS = jax.nn.softmax(logits_BNLS * H**-0.5 + hidden_B11S)
  out_BNLH = jnp.einsum(
    'BNLS,BNSH->BNLH', share_BNLS.astype(x_BLD.dtype), v_BNSH
  )
  out_BLD = jnp.swapaxes(out_BNLH, 1, 2).reshape(B, L, D)
  return _dense(weights['output'], out_BLD)


def _dense(weights: Mapping[str, jax.Array], x_BLD: jax.Array) -> jax.Array:
  dtype = x_BLD.dtype
  out_BLF = jnp.einsum('BLD,DF->BLF', x_BLD, weights['kernel'].astype(dtype))
  return out_BLF + weights['bias'].astype(dtype)[None, None]


def _activate(config: bert_checkpoint.Config, x_BLF: jax.Array) -> jax.Array:
  if config.activation == 'relu':
    return jax.nn.relu(x_BLF)
  return jax.nn.gelu(x_BLF, approximate=config.activation != 'gelu')


def _norm(
  config: bert_checkpoint.Config,
  weights: Mapping[str, jax.Array],
  x_BLD: jax.Array,
) -> jax.Array:
  """LayerNorm over D, computed in float32."""
  x32_BLD = x_BLD.astype(jnp.float32)
  mean_BL1 = jnp.mean(x32_BLD, axis=-1, keepdims=True)
  variance_BL1 = jnp.var(x32_BLD, axis=-1, keepdims=True)
  x32_BLD = (x32_BLD - mean_BL1) * jax.lax.rsqrt(
    variance_BL1 + config.norm_epsilon
  )
  x32_BLD = x32_BLD * weights['scale'][None, None] + weights['bias'][None, None]
  return x32_BLD.astype(x_BLD.dtype)
