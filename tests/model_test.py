"""Facts about the network."""

import dataclasses
import functools
import math
import pathlib
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hephaestus_jax import errors, losses, model, partitioning, rotary

CONFIG = model.Config(
  vocab_size=32,
  emb_dim=16,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=4,
  mlp_dim=24,
)


forward = jax.jit(model.forward, static_argnums=0)
init = functools.cache(jax.jit(model.init, static_argnums=0))


@functools.cache
def parameters(config: model.Config) -> dict:
  """Larger than fresh ones, so that attention is far from uniform."""
  return jax.tree.map(lambda x: np.asarray(x) * 3, init(config, 0))


def one_segment(tokens_BL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  positions_BL = np.broadcast_to(
    np.arange(tokens_BL.shape[1], dtype=np.int32), tokens_BL.shape
  )
  return np.ones_like(tokens_BL), positions_BL


def random_tokens(batch: int, length: int) -> np.ndarray:
  rng = np.random.default_rng(0)
  return rng.integers(0, CONFIG.vocab_size, (batch, length)).astype(np.int32)


def packed_batch(batch: int, length: int) -> dict[str, np.ndarray]:
  """Rows of two documents and padding, as data.py would make them."""
  first, second = length // 3, length // 2
  segments_L = np.repeat(
    [1, 2, 0], [first, second, length - first - second]
  ).astype(np.int32)
  positions_L = np.concatenate(
    [np.arange(n) for n in (first, second, length - first - second)]
  ).astype(np.int32)
  rng = np.random.default_rng(1)
  return {
    'tokens_BL': random_tokens(batch, length),
    'segment_ids_BL': np.tile(segments_L, (batch, 1)),
    'positions_BL': np.tile(positions_L, (batch, 1)),
    'roles_BL': rng.integers(0, 3, (batch, length)).astype(np.int32),
    'source_B': np.arange(batch, dtype=np.int32) % 2,
  }


def loss(config: model.Config, params: dict, batch: dict) -> jax.Array:
  hidden_BLD = forward(
    config,
    params,
    batch['tokens_BL'],
    batch['segment_ids_BL'],
    batch['positions_BL'],
  )
  sums = losses.next_token_loss(
    model.output_matrix(config, params),
    hidden_BLD,
    tokens_BL=batch['tokens_BL'],
    segment_ids_BL=batch['segment_ids_BL'],
    roles_BL=batch['roles_BL'],
    source_B=batch['source_B'],
    role_weights_R=jnp.array([0.5, 1.0, 2.0]),
    num_sources=2,
    z_loss=1e-3,
  )
  return sums.total / sums.weight


loss_and_gradient = jax.jit(
  jax.value_and_grad(loss, argnums=1), static_argnums=0
)


def assert_trees_close(actual: dict, expected: dict, tolerance: float) -> None:
  """Each array to within `tolerance` of the largest number in it."""
  for (path, a), (_, b) in zip(
    jax.tree_util.tree_leaves_with_path(actual),
    jax.tree_util.tree_leaves_with_path(expected),
    strict=True,
  ):
    np.testing.assert_allclose(
      a,
      b,
      rtol=0,
      atol=tolerance * float(np.abs(b).max()),
      err_msg=jax.tree_util.keystr(path),
    )


@pytest.mark.parametrize('block', [None, 3])
def test_future_tokens_do_not_change_the_past(block):
  config = dataclasses.replace(CONFIG, attention_block=block)
  tokens_BL = np.arange(8, dtype=np.int32)[None]

  def hidden_L(embedding_VD: jax.Array) -> jax.Array:
    params = parameters(config) | {'embedding': embedding_VD}
    return forward(config, params, tokens_BL, *one_segment(tokens_BL))[0].sum(
      axis=-1
    )

  jacobian_LVD = jax.jacrev(hidden_L)(parameters(config)['embedding'])
  # Token i is word i, so that a word's gradient is its position's.
  influence_LL = np.abs(jacobian_LVD).sum(axis=-1)[:, :8]
  assert (influence_LL[np.triu_indices(8, 1)] == 0).all()
  assert (influence_LL[np.tril_indices(8)] > 0).all()


@pytest.mark.parametrize('block', [None, 4])
def test_packed_segments_do_not_see_each_other(block):
  config = dataclasses.replace(CONFIG, attention_block=block)
  batch = packed_batch(1, 12)
  packed_LD = forward(
    config,
    parameters(config),
    batch['tokens_BL'],
    batch['segment_ids_BL'],
    batch['positions_BL'],
  )[0]
  for segment in (1, 2):
    of_segment_L = batch['segment_ids_BL'][0] == segment
    tokens_BL = batch['tokens_BL'][:, of_segment_L]
    alone_LD = forward(
      config, parameters(config), tokens_BL, *one_segment(tokens_BL)
    )[0]
    np.testing.assert_allclose(packed_LD[of_segment_L], alone_LD, atol=1e-5)


@pytest.mark.parametrize('window', [None, 3])
def test_prefill_and_decode_give_what_the_whole_sequence_gives(window):
  config = dataclasses.replace(CONFIG, sliding_window=window)
  params = parameters(config)
  tokens_BL = random_tokens(3, 9)
  whole_BLD = forward(config, params, tokens_BL, *one_segment(tokens_BL))
  lengths_B = np.array([5, 1, 3])
  cached = jax.jit(model.forward_cached, static_argnums=0)
  weights = model.unstacked(config, params)

  places_BL = np.tile(np.arange(5), (3, 1))
  positions_BL = np.where(places_BL < lengths_B[:, None], places_BL, -1)
  cache = model.init_cache(config, 3, 9)
  hidden_BLD, cache = cached(
    config, weights, tokens_BL[:, :5], positions_BL, cache
  )
  for row, length in enumerate(lengths_B):
    np.testing.assert_allclose(
      hidden_BLD[row, :length], whole_BLD[row, :length], atol=1e-5
    )
    # Padding is not stored.
    keys, values = cache[0]
    assert keys[row, :, :length].all()
    assert not keys[row, :, length:].any()
    assert not values[row, :, length:].any()
  for step in range(4):
    now_B = lengths_B + step
    hidden_B1D, cache = cached(
      config,
      weights,
      tokens_BL[np.arange(3), now_B][:, None],
      now_B[:, None],
      cache,
    )
    np.testing.assert_allclose(
      hidden_B1D[:, 0], whole_BLD[np.arange(3), now_B], atol=1e-5
    )


def test_a_prompt_may_be_read_in_pieces_into_any_row():
  params = parameters(CONFIG)
  tokens_BL = random_tokens(2, 9)
  whole_BLD = forward(CONFIG, params, tokens_BL, *one_segment(tokens_BL))
  weights = model.unstacked(CONFIG, params)
  cached = jax.jit(model.forward_cached, static_argnums=0)
  cache = model.init_cache(CONFIG, 4, 16)
  for first, last in ((0, 4), (4, 9)):
    positions_BL = np.tile(np.arange(first, last), (3, 1))
    # The second sequence has no row: it is not stored.
    pieces_BL = tokens_BL[[0, 1, 1], first:last]
    hidden_BLD, cache = cached(
      *(CONFIG, weights, pieces_BL, positions_BL, cache, np.array([3, 4, 1]))
    )
  np.testing.assert_allclose(hidden_BLD[0], whole_BLD[0, 4:], atol=1e-5)
  np.testing.assert_allclose(hidden_BLD[2], whole_BLD[1, 4:], atol=1e-5)
  for row in (0, 2):
    assert not cache[0][0][row].any()


@pytest.mark.parametrize(
  'change',
  [
    {'scan': False},
    {'remat': 'full'},
    {'remat': 'dots', 'scan': False},
    {'remat': 'minimal'},
    {'remat': 'attention'},
    {'attention_block': 5},
    {'attention_block': 4, 'sliding_window': 16},
  ],
  ids=str,
)
def test_how_it_is_computed_changes_neither_loss_nor_gradient(change):
  batch = packed_batch(2, 16)
  expected = loss_and_gradient(CONFIG, parameters(CONFIG), batch)
  config = dataclasses.replace(CONFIG, **change)
  actual = loss_and_gradient(config, parameters(CONFIG), batch)
  np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
  assert_trees_close(actual[1], expected[1], 1e-5)


def test_remat_policies_save_less_and_less():
  batch = packed_batch(1, 16)

  def saved(config: model.Config) -> int:
    """Bytes that go from the forward pass to the backward pass."""
    params = model.abstract(config)
    _, pullback = jax.eval_shape(
      lambda params: jax.vjp(lambda p: loss(config, p, batch), params), params
    )
    return sum(
      math.prod(leaf.shape) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(pullback)
    )

  sizes = {
    remat: saved(dataclasses.replace(CONFIG, remat=remat))
    for remat in model.REMAT
  }
  # A layer's input is saved on the host by the last, but it is saved.
  assert sizes['full'] == sizes['offload']
  from_most = list(dict.fromkeys(sizes.values()))
  assert from_most == sorted({*sizes.values()}, reverse=True)
  assert len(from_most) == len(sizes) - 1


@pytest.mark.parametrize(
  'sizes',
  [
    {'data': 2, 'fsdp': 2, 'tensor': 2},
    {'slice': 2, 'fsdp': 2, 'sequence': 2},
  ],
  ids=str,
)
def test_eight_devices_compute_what_one_does(sizes):
  batch = packed_batch(8, 16)
  params = init(CONFIG, 0)
  expected = loss_and_gradient(CONFIG, params, batch)

  mesh = partitioning.make_mesh(**sizes)
  places = partitioning.shardings(
    mesh, model.logical_axes(CONFIG), model.abstract(CONFIG)
  )
  with jax.set_mesh(mesh):
    spread = jax.jit(
      functools.partial(model.init, CONFIG), out_shardings=places
    )(0)
    for one, eight in zip(
      jax.tree.leaves(params), jax.tree.leaves(spread), strict=True
    ):
      np.testing.assert_array_equal(one, eight)
    step = loss_and_gradient.lower(
      CONFIG, spread, partitioning.global_batch(mesh, batch)
    ).compile()
    actual = step(spread, partitioning.global_batch(mesh, batch))
  np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
  assert_trees_close(actual[1], expected[1], 1e-5)


def test_parameters_depend_on_the_seed_alone():
  first, again, other = (init(CONFIG, seed) for seed in (0, 0, 1))
  for a, b, c in zip(*map(jax.tree.leaves, (first, again, other)), strict=True):
    np.testing.assert_array_equal(a, b)
    assert np.unique(a).size == 1 or not np.array_equal(a, c)


def test_layers_start_different():
  query_2DNH = init(CONFIG, 0)['layers']['attention']['query']
  assert not np.array_equal(query_2DNH[0], query_2DNH[1])


def test_every_parameter_has_a_name_for_each_axis():
  def check(names: tuple[str, ...], array: jax.ShapeDtypeStruct) -> None:
    assert len(names) == len(array.shape)
    assert set(names) <= set(partitioning.RULES)

  axes = model.logical_axes(CONFIG)
  jax.tree.map(
    check,
    axes,
    model.abstract(CONFIG),
    is_leaf=lambda node: isinstance(node, tuple),
  )
  assert axes['layers']['attention']['key'] == (
    'layers',
    'embed',
    'kv',
    'head_dim',
  )


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_logits():
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  params = init(CONFIG, 0)
  tokens_BL = random_tokens(1, 8)
  hidden_BLD = forward(config, params, tokens_BL, *one_segment(tokens_BL))
  exact_BLD = forward(CONFIG, params, tokens_BL, *one_segment(tokens_BL))
  assert hidden_BLD.dtype == jnp.bfloat16
  assert model.unembed(config, params, hidden_BLD).dtype == jnp.float32
  np.testing.assert_allclose(
    hidden_BLD.astype(jnp.float32), exact_BLD, atol=0.1
  )


def test_the_mlp_has_the_gradients_of_its_definition():
  key_BLD, key_mlp = jax.random.split(jax.random.key(0))
  x_BLD = jax.random.normal(key_BLD, (2, 3, CONFIG.emb_dim))
  graph, weights = nnx.split(model.Mlp(CONFIG, nnx.Rngs(key_mlp)))

  def found(weights: Any, x_BLD: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(nnx.merge(graph, weights)(x_BLD)))

  def definition(weights: Any, x_BLD: jax.Array) -> jax.Array:
    gate_BLF, up_BLF = x_BLD @ weights['gate'], x_BLD @ weights['up']
    gated_BLF = gate_BLF / (1 + jnp.exp(-gate_BLF)) * up_BLF
    return jnp.sum(jnp.sin(gated_BLF @ weights['down']))

  actual = jax.grad(found, argnums=(0, 1))(weights, x_BLD)
  expected = jax.grad(definition, argnums=(0, 1))(
    nnx.to_pure_dict(weights), x_BLD
  )
  assert_trees_close(
    {'weights': nnx.to_pure_dict(actual[0]), 'x': actual[1]},
    {'weights': expected[0], 'x': expected[1]},
    1e-5,
  )


@pytest.mark.parametrize(
  ('axes', 'x_shape', 'matrix_shape'),
  [
    ('BLD,DF->BLF', (2, 3, 4), (4, 5)),
    ('BLD,DNH->BLNH', (2, 3, 4), (4, 5, 6)),
    ('BLNH,NHD->BLD', (2, 3, 4, 5), (4, 5, 6)),
  ],
)
def test_a_product_has_the_gradients_of_its_einsum(axes, x_shape, matrix_shape):
  rng = np.random.default_rng(0)
  x, matrix = (
    rng.normal(size=shape).astype(np.float32)
    for shape in (x_shape, matrix_shape)
  )

  def total(product: Any, x: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(product(axes, x, matrix)))

  found, expected = (
    jax.value_and_grad(functools.partial(total, product), argnums=(0, 1))(
      x, matrix
    )
    for product in (model.product, jnp.einsum)
  )
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
  for a, b in zip(found[1], expected[1], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_tied_output_has_the_gradient_of_its_transpose():
  config = dataclasses.replace(CONFIG, tied_output=True)
  embedding_VD = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

  def total(embedding_VD: jax.Array) -> jax.Array:
    matrix_DV = model.output_matrix(config, {'embedding': embedding_VD})
    return jnp.sum(jnp.sin(matrix_DV) * jnp.arange(5.0)[None])

  np.testing.assert_allclose(
    jax.grad(total)(embedding_VD),
    np.cos(embedding_VD) * np.arange(5.0)[:, None],
    rtol=1e-5,
  )


def test_positions_turn_the_two_halves_as_pairs():
  # Position 2 with theta 100 and H = 4: pair (1, 3) turns by 2 radians, pair
  # (2, 4) by 2 / sqrt(100) = 0.2.
  config = dataclasses.replace(CONFIG, rope_theta=100.0)
  angles_BLH = model.rope_angles(config, jnp.array([[2]]))
  turned_H = rotary.by_xla(angles_BLH)(
    jnp.array([1.0, 2.0, 3.0, 4.0])[None, None, None]
  )[0, 0, 0]
  np.testing.assert_allclose(
    turned_H,
    [
      math.cos(2) - 3 * math.sin(2),
      2 * math.cos(0.2) - 4 * math.sin(0.2),
      3 * math.cos(2) + math.sin(2),
      4 * math.cos(0.2) + 2 * math.sin(0.2),
    ],
    rtol=1e-6,
  )


def test_scaling_stretches_long_wavelengths_only():
  config = dataclasses.replace(
    CONFIG,
    head_dim=6,
    rope_theta=1000.0,
    rope_scaling=model.RopeScaling(
      factor=8.0, original_length=round(2 * math.pi * 25)
    ),
  )
  # 25, 2.5 and 0.25 turns in the original length: kept, half-way up the ramp
  # from 1 to 4 turns, and stretched 8 times.
  np.testing.assert_allclose(
    model.rope_frequencies(config),
    [1.0, 0.1 * (0.5 + 0.5 / 8), 0.01 / 8],
    rtol=2e-3,
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'num_kv_heads': 3}, 'num_heads = 4 is no multiple of num_kv_heads = 3'),
    ({'head_dim': 5}, 'head_dim = 5 is odd'),
    ({'remat': 'ful'}, "remat = 'ful' is none of"),
    ({'dtype': 'float16'}, "dtype = 'float16'"),
    ({'attention_block': 0}, 'attention_block = 0'),
  ],
)
def test_a_config_that_cannot_be_is_refused(change, message):
  with pytest.raises(errors.UserError, match=message):
    dataclasses.replace(CONFIG, **change)


# Counted by hand or published; a tied output counts once.
SIZES = {
  '300k': 291_488,
  '450k': 449_904,
  '600k': 616_768,
  '1m': 1_088_928,
  'tiny': 1_787_008,
  '3m': 3_184_320,
  '5m': 4_917_504,
  '45m': 45_295_104,
  '85m': 84_393_600,
  '170m': 169_766_016,
  '350m': 350_536_704,
  '650m': 648_878_208,
  'llama3_8b': 8_030_261_248,
  'mistral_7b_v0_3': 7_248_023_552,
  'smollm2_135m': 134_515_008,
}


@pytest.mark.parametrize('name', SIZES)
def test_a_model_file_has_the_parameters_that_it_says(name, monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[1])
  gin.clear_config()
  file = pathlib.Path(f'gin/models/{name}.gin')
  gin.parse_config_file(str(file))
  config = gin.query_parameter('%MODEL').scoped_configurable_fn()
  gin.clear_config()
  assert model.num_parameters(config) == SIZES[name]
  assert f'{SIZES[name]:,}' in file.read_text()


def test_every_model_file_is_counted():
  folder = pathlib.Path(__file__).parents[1] / 'gin/models'
  assert {file.stem for file in folder.glob('*.gin')} == {'base', *SIZES}
