"""The network: one decoder-only Transformer, whose config makes it a LLaMA.

RMSNorm, rotary positions, grouped-query attention and SwiGLU. LLaMA 2 and 3,
Mistral and SmolLM2 differ only in their `Config`. Inside, Flax NNX modules;
outside, functions of a config and of `params`, a nested dict of arrays whose
layers are stacked on axis 0.

Array names end in their axes:
  B batch         L length (queries)   S length (keys)
  D emb_dim       N query heads        K key and value heads
  H head_dim      F mlp_dim            V vocabulary
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from hephaestus_jax import attention, errors, partitioning, rotary

# What a layer computes, by the name that REMAT knows it by.
_READS = ('query', 'key', 'value', attention.CONTEXT)
_PRODUCTS = ('query', 'key', 'value', 'gate', 'up', 'attention_output')
_LAYER_INPUT = 'layer_input'
_saved = jax.checkpoint_policies.save_only_these_names
# What the backward pass finds saved; the rest it computes again. From the most
# memory to the least; None = everything.
REMAT: dict[str, Callable[..., Any] | None] = {
  'none': None,
  # All products but the MLP's last: little is left to compute again.
  'minimal': _saved(*_PRODUCTS, attention.CONTEXT),
  'dots': _saved(*_PRODUCTS),  # and attention is computed twice
  'attention': _saved(*_READS),  # no attention twice
  'full': jax.checkpoint_policies.nothing_saveable,  # a layer's input alone
  # As 'full', with the layers' inputs in the host's memory.
  'offload': jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=[_LAYER_INPUT],
    offload_src='device',
    offload_dst='pinned_host',
  ),
}
ATTENTION = ('xla', 'splash')


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """LLaMA 3.1's stretching of the rotary wavelengths to longer contexts."""

  factor: float = 8.0
  low_frequency_factor: float = 1.0
  high_frequency_factor: float = 4.0
  original_length: int = 8192


@dataclasses.dataclass(frozen=True)
class Config:
  """What a network is. The words are T5X's.

  Attributes:
    sliding_window: how many positions back a token sees; None = all.
    tied_output: whether the embedding is also the output matrix.
    dtype: of the computation (norms, softmax and logits are float32 always).
    param_dtype: of the parameters.
    scan: one compiled layer run in a loop; False = unrolled, which compiles
      longer and may run faster.
    remat: a name in REMAT.
    attention: a name in ATTENTION: 'splash' is a kernel for TPU, 'xla' runs
      anywhere. What is computed is the same.
    attention_block: queries per block, see `attention`.
  """

  vocab_size: int
  emb_dim: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  mlp_dim: int
  rope_theta: float = 10000.0
  rope_scaling: RopeScaling | None = None
  norm_epsilon: float = 1e-5
  sliding_window: int | None = None
  tied_output: bool = False
  dtype: str = 'float32'
  param_dtype: str = 'float32'
  scan: bool = True
  remat: str = 'none'
  attention: str = 'xla'
  attention_block: int | None = None

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if type(value) in (int, float) and value <= 0:
        raise errors.UserError(
          f'model.Config.{field.name} = {value} is not above 0.'
        )
    if self.num_heads % self.num_kv_heads:
      raise errors.UserError(
        f'model.Config.num_heads = {self.num_heads} is no multiple of '
        f'num_kv_heads = {self.num_kv_heads}.'
      )
    if self.head_dim % 2:
      raise errors.UserError(
        f'model.Config.head_dim = {self.head_dim} is odd; rotary positions '
        'turn pairs.'
      )
    for name, known in (('remat', tuple(REMAT)), ('attention', ATTENTION)):
      if getattr(self, name) not in known:
        raise errors.UserError(
          f'model.Config.{name} = {getattr(self, name)!r} is none of {known}.'
        )
    for name in ('dtype', 'param_dtype'):
      if getattr(self, name) not in ('float32', 'bfloat16'):
        raise errors.UserError(
          f'model.Config.{name} = {getattr(self, name)!r} is neither '
          "'float32' nor 'bfloat16'."
        )


def _matrix(
  rngs: nnx.Rngs,
  config: Config,
  shape: tuple[int, ...],
  axes: tuple[str, ...],
  std: float,
) -> nnx.Param:
  """A normal parameter, cut off at two standard deviations, axes named."""
  initialise = nnx.initializers.truncated_normal(std)
  value = initialise(rngs.params(), shape, jnp.dtype(config.param_dtype))
  return nnx.Param(value, axes=axes)


def _norm(config: Config) -> nnx.Param:
  """The scale of an RMSNorm. Its name must end in 'norm': see optimizer.py."""
  ones_D = jnp.ones((config.emb_dim,), jnp.dtype(config.param_dtype))
  return nnx.Param(ones_D, axes=('norm',))


def rms_norm(x_BLD: jax.Array, scale_D: jax.Array, epsilon: float) -> jax.Array:
  """x scaled to a root mean square of 1 over D, then by `scale_D`."""
  x32_BLD = x_BLD.astype(jnp.float32)
  square_BL1 = jnp.mean(jnp.square(x32_BLD), axis=-1, keepdims=True)
  x32_BLD = x32_BLD * jax.lax.rsqrt(square_BL1 + epsilon)
  return (x32_BLD * scale_D.astype(jnp.float32)[None, None]).astype(x_BLD.dtype)


def rope_frequencies(config: Config) -> np.ndarray:
  """Radians per position of each of the head_dim / 2 pairs, float32.

  With `rope_scaling`, wavelengths that turn less than `low_frequency_factor`
  times in the original length are stretched by `factor`, those that turn more
  than `high_frequency_factor` times are kept, and between them is a ramp.
  """
  exponents = np.arange(0, config.head_dim, 2) / config.head_dim
  frequencies = config.rope_theta**-exponents
  if config.rope_scaling is not None:
    scaling = config.rope_scaling
    turns = scaling.original_length * frequencies / (2 * math.pi)
    kept = np.clip(
      (turns - scaling.low_frequency_factor)
      / (scaling.high_frequency_factor - scaling.low_frequency_factor),
      0.0,
      1.0,
    )
    frequencies = frequencies * (kept + (1 - kept) / scaling.factor)
  return frequencies.astype(np.float32)


def rope_angles(config: Config, positions_BL: jax.Array) -> jax.Array:
  """Radians to turn each pair by, [B, L, head_dim / 2]."""
  frequencies = jnp.asarray(rope_frequencies(config))[None, None]
  return positions_BL[..., None].astype(jnp.float32) * frequencies


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def product(axes: str, x: jax.Array, matrix: jax.Array) -> jax.Array:
  """`einsum(axes, x, matrix)`; each axis is in two of 'x,matrix->out'."""
  # Derived, the matrix's gradient is a product that is transposed, which XLA
  # computes at a third of the speed on CPU. Written down it is a plain one.
  return jnp.einsum(axes, x, matrix)


def _product_forward(
  axes: str, x: jax.Array, matrix: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return product(axes, x, matrix), (x, matrix)


def _product_backward(
  axes: str, inputs: tuple[jax.Array, jax.Array], d_out: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, matrix = inputs
  (of_x, of_matrix), of_out = (part.split(',') for part in axes.split('->'))
  return (
    jnp.einsum(f'{of_out[0]},{of_matrix}->{of_x}', d_out, matrix),
    jnp.einsum(f'{of_x},{of_out[0]}->{of_matrix}', x, d_out),
  )


product.defvjp(_product_forward, _product_backward)


class Attention(nnx.Module):
  """Grouped-query self-attention with rotary positions."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    D, N, K, H = (
      config.emb_dim,
      config.num_heads,
      config.num_kv_heads,
      config.head_dim,
    )
    # Depth scaling (GPT-2): 2 * num_layers outputs are summed in the residual
    # stream, whose variance then does not grow with depth.
    out_std = (N * H) ** -0.5 * (2 * config.num_layers) ** -0.5
    axes = ('embed', 'heads', 'head_dim')
    kv_axes = ('embed', 'kv', 'head_dim')
    self.query = _matrix(rngs, config, (D, N, H), axes, D**-0.5)
    self.key = _matrix(rngs, config, (D, K, H), kv_axes, D**-0.5)
    self.value = _matrix(rngs, config, (D, K, H), kv_axes, D**-0.5)
    self.output = _matrix(
      rngs, config, (N, H, D), ('heads', 'head_dim', 'embed'), out_std
    )

  def project(
    self, x_BLD: jax.Array, turn: rotary.Turn
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Queries, keys and values; the first two turned by their position.

    Queries are scaled for attention here, where XLA does it inside the product.
    """
    dtype = x_BLD.dtype
    q_BLNH = product('BLD,DNH->BLNH', x_BLD, self.query[...].astype(dtype))
    q_BLNH = q_BLNH * q_BLNH.shape[3] ** -0.5
    k_BLKH = product('BLD,DKH->BLKH', x_BLD, self.key[...].astype(dtype))
    v_BLKH = product('BLD,DKH->BLKH', x_BLD, self.value[...].astype(dtype))
    return (
      checkpoint_name(turn(q_BLNH), 'query'),
      checkpoint_name(turn(k_BLKH), 'key'),
      checkpoint_name(v_BLKH, 'value'),
    )

  def merge(self, out_BLNH: jax.Array) -> jax.Array:
    """What the heads read, mixed back into the residual stream."""
    output_NHD = self.output[...].astype(out_BLNH.dtype)
    return product('BLNH,NHD->BLD', out_BLNH, output_NHD)


def _written(x: Any) -> Any:
  """x, written to memory where the compiler is the TPU's."""
  # It would compute x anew, from twice as many bytes, in every product that
  # reads it. On CPU, writing it costs a tenth of a layer's time.
  return jax.lax.platform_dependent(
    x, tpu=jax.lax.optimization_barrier, default=lambda x: x
  )


@jax.custom_vjp
def _gated(gate_BLF: jax.Array, up_BLF: jax.Array) -> jax.Array:
  """silu(gate) * up; on TPU it and its gradients are in memory once."""
  gated_BLF: jax.Array = _written(jax.nn.silu(gate_BLF) * up_BLF)
  return gated_BLF


def _gated_forward(
  gate_BLF: jax.Array, up_BLF: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return _gated(gate_BLF, up_BLF), (gate_BLF, up_BLF)


def _gated_backward(
  inputs: tuple[jax.Array, jax.Array], d_out_BLF: jax.Array
) -> tuple[jax.Array, jax.Array]:
  _, gradients_of = jax.vjp(lambda g, u: jax.nn.silu(g) * u, *inputs)
  gradients: tuple[jax.Array, jax.Array] = _written(gradients_of(d_out_BLF))
  return gradients


_gated.defvjp(_gated_forward, _gated_backward)


class Mlp(nnx.Module):
  """SwiGLU: down(silu(gate(x)) * up(x))."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    D, F = config.emb_dim, config.mlp_dim
    down_std = F**-0.5 * (2 * config.num_layers) ** -0.5
    self.gate = _matrix(rngs, config, (D, F), ('embed', 'mlp'), D**-0.5)
    self.up = _matrix(rngs, config, (D, F), ('embed', 'mlp'), D**-0.5)
    self.down = _matrix(rngs, config, (F, D), ('mlp', 'embed'), down_std)

  def __call__(self, x_BLD: jax.Array) -> jax.Array:
    """What this layer's MLP adds to the residual stream."""
    dtype = x_BLD.dtype
    gate_BLF = product('BLD,DF->BLF', x_BLD, self.gate[...].astype(dtype))
    up_BLF = product('BLD,DF->BLF', x_BLD, self.up[...].astype(dtype))
    gate_BLF = checkpoint_name(gate_BLF, 'gate')
    up_BLF = checkpoint_name(up_BLF, 'up')
    return product(
      'BLF,FD->BLD', _gated(gate_BLF, up_BLF), self.down[...].astype(dtype)
    )


# How a layer reads: (q, k, v, its part of the cache) -> (out, the cache after).
Reader = Callable[[jax.Array, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]


class Block(nnx.Module):
  """One layer: attention, then the MLP, each normed before and added after."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.epsilon = config.norm_epsilon
    self.attention_norm = _norm(config)
    self.attention = Attention(config, rngs)
    self.mlp_norm = _norm(config)
    self.mlp = Mlp(config, rngs)

  def __call__(
    self, x_BLD: jax.Array, turn: rotary.Turn, read: Reader, cache: Any
  ) -> tuple[jax.Array, Any]:
    """The residual stream after this layer, and its part of the cache."""
    normed_BLD = rms_norm(x_BLD, self.attention_norm[...], self.epsilon)
    out_BLNH, cache = read(*self.attention.project(normed_BLD, turn), cache)
    merged_BLD = self.attention.merge(out_BLNH)
    x_BLD = x_BLD + checkpoint_name(merged_BLD, 'attention_output')
    normed_BLD = rms_norm(x_BLD, self.mlp_norm[...], self.epsilon)
    x_BLD = x_BLD + self.mlp(normed_BLD)
    return partitioning.constrain(x_BLD, 'batch', 'length', None), cache


class Transformer(nnx.Module):
  """Embedding, layers, final norm and, where it isn't tied, the output."""

  def __init__(self, config: Config, rngs: nnx.Rngs):
    self.config = config
    V, D = config.vocab_size, config.emb_dim
    self.embedding = _matrix(rngs, config, (V, D), ('vocab', 'embed'), 0.02)
    keys = jax.random.split(rngs.params(), config.num_layers)
    self.layers = nnx.vmap(lambda key: Block(config, nnx.Rngs(key)))(keys)
    self.final_norm = _norm(config)
    if not config.tied_output:
      self.output = _matrix(rngs, config, (D, V), ('embed', 'vocab'), D**-0.5)

  def __call__(
    self,
    tokens_BL: jax.Array,
    positions_BL: jax.Array,
    read: Reader,
    cache: Any = None,
  ) -> tuple[jax.Array, Any]:
    """Hidden states after the final norm, and the layers' caches, stacked."""
    config = self.config
    embedding_VD = self.embedding[...].astype(config.dtype)
    x_BLD = jnp.take(embedding_VD, tokens_BL, axis=0)
    x_BLD = partitioning.constrain(x_BLD, 'batch', 'length', None)
    angles_BLH = rope_angles(config, positions_BL)
    by_kernel = config.attention == 'splash'
    turn = (rotary.by_kernel if by_kernel else rotary.by_xla)(angles_BLH)
    graph, stacked = nnx.split(self.layers)

    def step(x_BLD: jax.Array, layer: Any) -> tuple[jax.Array, Any]:
      weights, cache = layer
      x_BLD = checkpoint_name(x_BLD, _LAYER_INPUT)
      return nnx.merge(graph, weights)(x_BLD, turn, read, cache)

    policy = REMAT[config.remat]
    if policy is not None:
      # A loop keeps the recomputation apart by itself; unrolled, XLA would
      # merge it with the forward pass and save everything after all.
      step = jax.checkpoint(step, policy=policy, prevent_cse=not config.scan)
    if config.scan:
      x_BLD, cache = jax.lax.scan(step, x_BLD, (stacked, cache))
    else:
      leaves, tree = jax.tree.flatten((stacked, cache))
      caches = []
      for layer in zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True):
        x_BLD, after = step(x_BLD, jax.tree.unflatten(tree, layer))
        caches.append(after)
      cache = jax.tree.map(lambda *parts: jnp.stack(parts), *caches)
    return rms_norm(x_BLD, self.final_norm[...], config.norm_epsilon), cache


@functools.cache
def _abstract(config: Config) -> tuple[Any, Any]:
  """The network's graph and its parameters' shapes; nothing is computed."""
  return nnx.split(nnx.eval_shape(lambda: Transformer(config, nnx.Rngs(0))))


def _network(config: Config, params: Any) -> Transformer:
  return nnx.merge(_abstract(config)[0], params)


def init(config: Config, seed: int | jax.Array) -> dict[str, Any]:
  """Fresh parameters: a pure function of (config, seed), on any mesh.

  Normal, cut off at two standard deviations, which are fan_in ** -0.5, divided
  by (2 * num_layers) ** 0.5 where a matrix writes to the residual stream, and
  0.02 for the embedding. To make them where they belong, jit with
  `out_shardings`.
  """
  return nnx.to_pure_dict(
    nnx.state(Transformer(config, nnx.Rngs(jax.random.key(seed))))
  )


def abstract(config: Config) -> dict[str, Any]:
  """The parameters' shapes and dtypes, as `init` would make them."""
  return nnx.to_pure_dict(_abstract(config)[1])


def logical_axes(config: Config) -> dict[str, Any]:
  """The parameters' tree with a tuple of axis names for each array."""
  axes = jax.tree.map(
    lambda variable: variable.get_metadata('axes'),
    _abstract(config)[1],
    is_leaf=lambda node: isinstance(node, nnx.Variable),
  )
  axes = nnx.to_pure_dict(axes)
  axes['layers'] = jax.tree.map(
    lambda names: ('layers', *names),
    axes['layers'],
    is_leaf=lambda node: isinstance(node, tuple),
  )
  return axes


def placed(config: Config, mesh: Mesh) -> dict[str, Any]:
  """The parameters' shapes and dtypes, each with its place on the mesh."""
  shapes = abstract(config)
  return jax.tree.map(
    lambda shape, place: jax.ShapeDtypeStruct(
      shape.shape, shape.dtype, sharding=place
    ),
    shapes,
    partitioning.shardings(mesh, logical_axes(config), shapes),
  )


def num_parameters(config: Config) -> int:
  """How many numbers the parameters hold; a tied output is counted once."""
  return sum(
    math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract(config))
  )


def forward(
  config: Config,
  params: dict[str, Any],
  tokens_BL: jax.Array,
  segment_ids_BL: jax.Array,
  positions_BL: jax.Array,
) -> jax.Array:
  """Hidden states after the final norm, `hidden_BLD`, of packed rows.

  Tokens see earlier tokens of their own segment only. Segments are contiguous
  in a row and positions restart with each; segment 0 is padding.
  """

  def read(
    q_BLNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, cache: None
  ) -> tuple[jax.Array, None]:
    if config.attention == 'splash':
      out_BLNH = attention.attend_splash(
        q_BLNH,
        k_BSKH,
        v_BSKH,
        segment_ids_BL=segment_ids_BL,
        window=config.sliding_window,
        block=config.attention_block,
      )
      return out_BLNH, cache
    out_BLNH = attention.attend(
      q_BLNH,
      k_BSKH,
      v_BSKH,
      positions_BL=positions_BL,
      kv_positions_BS=positions_BL,
      segment_ids_BL=segment_ids_BL,
      kv_segment_ids_BS=segment_ids_BL,
      window=config.sliding_window,
      block=config.attention_block,
    )
    return checkpoint_name(out_BLNH, attention.CONTEXT), cache

  network = _network(config, params)
  return network(tokens_BL, positions_BL, read)[0]


@jax.custom_vjp
def _transposed(matrix_VD: jax.Array) -> jax.Array:
  """Its transpose, whose gradient is in memory before it is turned back."""
  # See `product`: XLA would compute it transposed.
  return matrix_VD.T


_transposed.defvjp(
  lambda matrix_VD: (matrix_VD.T, None),
  lambda _, d_matrix_DV: (jax.lax.optimization_barrier(d_matrix_DV).T,),
)


def output_matrix(config: Config, params: dict[str, Any]) -> jax.Array:
  """The output matrix, `matrix_DV`; a tied one is the embedding's transpose."""
  if config.tied_output:
    return _transposed(params['embedding'])
  return params['output']


def unembed(
  config: Config, params: dict[str, Any], hidden_BLD: jax.Array
) -> jax.Array:
  """Logits `logits_BLV`, float32, of hidden states as `forward` gives them."""
  return jnp.einsum(
    'BLD,DV->BLV',
    hidden_BLD,
    output_matrix(config, params).astype(hidden_BLD.dtype),
    preferred_element_type=jnp.float32,
  )


# One layer's keys and values: [B, K, S, H] each, the keys rotated. The slot of
# a token is its position.
LayerCache = tuple[jax.Array, jax.Array]


@functools.cache
def _block(config: Config) -> Any:
  """One layer's graph."""
  return nnx.split(nnx.eval_shape(lambda: Block(config, nnx.Rngs(0))))[0]


@functools.partial(jax.jit, static_argnums=0)
def unstacked(config: Config, params: dict[str, Any]) -> dict[str, Any]:
  """Parameters for `forward_cached`: each layer's by themselves, as computed.

  Decoding reads every parameter for a handful of tokens, so what a loop over
  stacked layers would cost, a copy of each layer's, is paid once, here; so is
  the cast of the matrices to `config.dtype`. The scales of norms stay as they
  are: they are used in float32.
  """
  dtype = jnp.dtype(config.dtype)

  def cast(path: Any, leaf: jax.Array) -> jax.Array:
    scale = jax.tree_util.keystr(path[-1:], simple=True).endswith('norm')
    return leaf if scale else leaf.astype(dtype)

  weights = jax.tree_util.tree_map_with_path(cast, params)
  leaves, tree = jax.tree.flatten(weights['layers'])
  layers = zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)
  return weights | {
    'layers': tuple(jax.tree.unflatten(tree, layer) for layer in layers)
  }


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def init_cache(
  config: Config, batch: int, length: int
) -> tuple[LayerCache, ...]:
  """An empty cache for `batch` sequences of at most `length` tokens."""
  shape = (batch, config.num_kv_heads, length, config.head_dim)

  def zeros() -> jax.Array:
    array = jnp.zeros(shape, jnp.dtype(config.dtype))
    return partitioning.constrain(array, 'batch', 'kv', None, None)

  return tuple((zeros(), zeros()) for _ in range(config.num_layers))


def forward_cached(
  config: Config,
  weights: dict[str, Any],
  tokens_BL: jax.Array,
  positions_BL: jax.Array,
  cache: tuple[LayerCache, ...],
  rows_B: jax.Array | None = None,
) -> tuple[jax.Array, tuple[LayerCache, ...]]:
  """Hidden states of the next L tokens of each sequence, and the cache after.

  Args:
    weights: as `unstacked` gives them.
    positions_BL: they run on from 0 without gaps, over calls as well, and stay
      below the cache's length. -1 is padding: it is not stored, and its hidden
      states mean nothing.
    rows_B: which row of the cache each sequence is in; None: the same one. What
      is given a row that isn't there is not stored.
  """
  length = cache[0][0].shape[2]
  rows_B1 = (jnp.arange(tokens_BL.shape[0]) if rows_B is None else rows_B)[
    :, None
  ]
  # Padding goes to a slot that isn't there, and mode='drop' drops it.
  slots_BL = jnp.where(positions_BL < 0, length, positions_BL)

  def read(
    q_BLNH: jax.Array, k_BLKH: jax.Array, v_BLKH: jax.Array, cache: LayerCache
  ) -> tuple[jax.Array, LayerCache]:
    keys, values = (
      partitioning.constrain(
        stored.at[rows_B1, :, slots_BL].set(new_BLKH, mode='drop'),
        *('batch', 'kv', None, None),
      )
      for stored, new_BLKH in zip(cache, (k_BLKH, v_BLKH), strict=True)
    )
    out_BLNH = attention.attend_cache(
      q_BLNH,
      keys,
      values,
      positions_BL=positions_BL,
      rows_B=rows_B,
      window=config.sliding_window,
    )
    return out_BLNH, (keys, values)

  x_BLD = jnp.take(weights['embedding'], tokens_BL, axis=0)
  x_BLD = partitioning.constrain(x_BLD, 'batch', 'length', None)
  turn = rotary.by_xla(rope_angles(config, positions_BL))
  after = []
  for layer, stored in zip(weights['layers'], cache, strict=True):
    block = nnx.merge(_block(config), layer)
    x_BLD, stored = block(x_BLD, turn, read, stored)
    after.append(stored)
  hidden_BLD = rms_norm(x_BLD, weights['final_norm'], config.norm_epsilon)
  return hidden_BLD, tuple(after)
