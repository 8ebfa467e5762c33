"""`hephaestus fit`: a table of runs -> laws, the best mixture, fits.json."""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from hephaestus_jax import artefacts, errors
from hephaestus_jax.scaling import fits, laws, optimum, study

FILE = 'fits.json'
CURVE_POINTS = 61  # of a law's curve over the shares, for the figure
DRAWN_LAW = 'power_of_share'  # the paper's, whose curves Figure 3 shows
# A law whose error is at most so many times the least has a say, too.
COMPARABLE = 2.0


@dataclasses.dataclass(frozen=True)
class Method:
  """How the laws are fitted: arguments of `fit`, with their names."""

  agent_weight: float
  huber: float
  draws: int
  level: float
  seed: int


def fit(
  *,
  table: str,
  output_dir: str,
  agent_losses: Sequence[str],
  general_losses: Sequence[str],
  unit: str = 'nll_per_token',
  size_column: str = 'parameters',
  agent_weight: float = 0.5,
  huber: float = 0.01,
  draws: int = 200,
  level: float = 0.9,
  seed: int = 0,
) -> dict[str, Any]:
  """Fits every law of laws.py to a table of runs; writes fits.json.

  Args:
    table: Parquet file, or the folder with table.parquet.
    output_dir: where fits.json goes; older fits there are replaced.
    agent_losses: evaluations of agent abilities.
    general_losses: evaluations of general text; may be empty.
    unit: of the losses.
    size_column: what N is.
    agent_weight: of the agent losses in the trade-off, see optimum.py.
    huber: see fits.py.
    draws: of the bootstrap.
    level: of every interval.
    seed: of the draws.

  Returns:
    {'fits': path, 'runs': how many were fitted to, 'recommended': see
    `recommend`, 'reused': False}.

  Raises:
    errors.UserError: there is no table, or it lacks what is asked for, or an
      argument is out of its range, or `output_dir` holds something else.
  """
  _check(agent_losses, general_losses, agent_weight, huber, draws, level)
  folder = pathlib.Path(output_dir)
  _refuse_to_replace(folder)
  found = study.read(
    table,
    agent_losses=agent_losses,
    general_losses=general_losses,
    unit=unit,
    size_column=size_column,
  )
  method = Method(agent_weight, huber, draws, level, seed)
  result = {
    'table': table,
    'unit': unit,
    'size_column': size_column,
    'agent_losses': list(agent_losses),
    'general_losses': list(general_losses),
    'method': dataclasses.asdict(method),
    **fitted_study(found, method),
  }
  inputs = {
    'command': 'fit',
    'table': table,
    **{key: result[key] for key in ('unit', 'size_column', 'method')},
    'agent_losses': list(agent_losses),
    'general_losses': list(general_losses),
  }
  with artefacts.written(folder, inputs) as partial:
    artefacts.write_json(partial / FILE, result)
    if folder.exists():
      shutil.rmtree(folder)
  _show(result)
  print(f'wrote {folder / FILE}')
  return {
    'fits': str(folder / FILE),
    'runs': len(result['runs']),
    'recommended': result['recommended'],
    'reused': False,
  }


def _check(
  agent_losses: Sequence[str],
  general_losses: Sequence[str],
  agent_weight: float,
  huber: float,
  draws: int,
  level: float,
) -> None:
  if not agent_losses:
    raise errors.UserError(
      'agent_losses is empty: name one, such as function_calls.'
    )
  least = 0.0 if general_losses else 1.0
  if not least <= agent_weight <= 1:
    raise errors.UserError(
      f'agent_weight = {agent_weight} is not between {least} and 1'
      + ('.' if general_losses else ': there is no general loss to weigh.')
    )
  if huber <= 0 or draws < 20 or not 0 < level < 1:
    raise errors.UserError(
      f'huber = {huber} must be above 0, draws = {draws} at least 20, and '
      f'level = {level} between 0 and 1.'
    )


def _refuse_to_replace(folder: pathlib.Path) -> None:
  """Stops unless there is nothing at `folder`, or earlier fits."""
  if not folder.exists():
    return
  path = folder / artefacts.INPUTS
  if path.exists() and artefacts.read_inputs(folder).get('command') == 'fit':
    return
  raise errors.UserError(
    f'output_dir {folder} holds something that is no fit, and a fit replaces '
    'its folder. Give another output_dir, or delete the folder.'
  )


def fitted_study(found: study.Study, method: Method) -> dict[str, Any]:
  """All that is known after the fits, as JSON.

  Returns:
    {'runs': [{'parameters', 'tokens', 'agent', 'seed', 'losses'}], 'left_out':
    {reason: runs}, 'laws': {law: [{'parameters', 'tokens', 'losses'}]} with a
    row per size for laws that have a fit for each, 'curves', 'optima': {law:
    [...]}, 'recommended', 'held_out': see `held_out`}.
  """
  groups = {
    name: _groups(found, joint) for name, (_, joint) in laws.LAWS.items()
  }
  drawn = {
    name: [_draw(name, group, method) for _, group in groups[name]]
    for name in laws.LAWS
  }
  errors_by_law = {
    name: [_left_out(name, one, method) for one in drawn[name]]
    for name in laws.LAWS
  }
  optima = {
    name: _optima(found, groups[name], drawn[name], method)
    for name in laws.LAWS
  }
  points = found.points
  return {
    'runs': [
      {
        'parameters': float(points.parameters_R[i]),
        'tokens': float(points.tokens_R[i]),
        'agent': float(points.agent_R[i]),
        'seed': int(found.seeds_R[i]),
        'losses': {name: float(y_R[i]) for name, y_R in found.losses.items()},
      }
      for i in range(len(found.seeds_R))
    ],
    'left_out': found.left_out,
    'laws': {
      name: [
        {**where, 'losses': _described(one, off, method.level)}
        for (where, _), one, off in zip(
          groups[name], drawn[name], errors_by_law[name], strict=True
        )
      ]
      for name in laws.LAWS
    },
    'curves': _curves(groups[DRAWN_LAW], drawn[DRAWN_LAW], method.level),
    'optima': optima,
    'recommended': recommend(found, drawn, errors_by_law, optima, method),
    'held_out': held_out(found, method),
  }


Group = tuple[dict[str, float | None], study.Study]
Draws = dict[str, optimum.Drawn | str]


def _groups(found: study.Study, joint: bool) -> list[Group]:
  """What a law is fitted to at once: all runs, or those of each size."""
  if joint:
    return [({'parameters': None, 'tokens': None}, found)]
  return [
    ({'parameters': n, 'tokens': d}, found.of_size(n, d))
    for n, d in found.sizes()
  ]


def _draw(name: str, group: study.Study, method: Method) -> Draws:
  """One law's fit and draws for each loss; the reason where it has none."""
  law, _ = laws.LAWS[name]
  found: Draws = {}
  for loss, loss_R in group.losses.items():
    agent = loss in group.agent_losses
    fitted = fits.fit(law, group.points, loss_R, agent, method.huber)
    if isinstance(fitted, str):
      found[loss] = fitted
      continue
    theta_BP = fits.redraw(fitted, method.draws, method.seed, method.huber)
    found[loss] = optimum.Drawn(fitted, theta_BP, agent)
  return found


def _left_out(
  name: str, drawn: Draws, method: Method
) -> dict[str, float | None]:
  """The error where a law wasn't fitted, by loss."""
  law, _ = laws.LAWS[name]
  return {
    loss: None
    if isinstance(one, str)
    else fits.left_out_error(law, one.fitted, one.agent, method.huber)
    for loss, one in drawn.items()
  }


def _described(
  drawn: Draws, off: dict[str, float | None], level: float
) -> dict[str, Any]:
  """Parameters with their intervals, and errors, by loss."""
  described: dict[str, Any] = {}
  for loss, one in drawn.items():
    if isinstance(one, str):
      described[loss] = {'reason': one}
      continue
    form = one.fitted.form
    values = [form.published(theta_P) for theta_P in one.theta_BP]
    parameters = {}
    for key, value in form.published(one.fitted.theta_P).items():
      draws_B = np.array([drawn_values[key] for drawn_values in values])
      low, high = fits.interval(draws_B, level)
      parameters[key] = {'value': float(value), 'low': low, 'high': high}
    described[loss] = {
      'parameters': parameters,
      'runs': len(one.fitted.log_R),
      'residual': float(np.sqrt(np.mean(one.fitted.residuals_R**2))),
      'left_out_error': off[loss],
    }
  return described


def _curves(
  groups: Sequence[Group], drawn: Sequence[Draws], level: float
) -> list[dict[str, Any]]:
  """The paper's law over the shares, a curve per size and loss."""
  curves = []
  for (where, group), of_size in zip(groups, drawn, strict=True):
    x_R = group.points.agent_R
    # Closer together at the least share, where a power may be steep.
    t_G = np.linspace(0, 1, CURVE_POINTS) ** 2
    x_G = x_R.min() + (x_R.max() - x_R.min()) * t_G
    n, d = where['parameters'] or 0, where['tokens'] or 0
    asked = optimum.path(group.points, x_G, n, d)
    for loss, one in of_size.items():
      if isinstance(one, str):
        continue
      form = one.fitted.form
      draws_BG = np.exp(
        [form.log_loss(theta_P, asked) for theta_P in one.theta_BP]
      )
      tails = [(1 - level) / 2, (1 + level) / 2]
      low_G, high_G = np.quantile(draws_BG, tails, axis=0)
      curves.append(
        {
          **where,
          'loss': loss,
          'x': x_G.tolist(),
          'fitted': one.fitted.loss(asked).tolist(),
          'low': low_G.tolist(),
          'high': high_G.tolist(),
        }
      )
  return curves


def _optima(
  found: study.Study,
  groups: Sequence[Group],
  drawn: Sequence[Draws],
  method: Method,
) -> list[dict[str, Any]]:
  """A law's best share at every size, where it explains every loss."""
  optima = []
  for (where, group), one in zip(groups, drawn, strict=True):
    told = {k: v for k, v in one.items() if not isinstance(v, str)}
    if len(told) < len(one):
      continue
    sizes = found.sizes() if where['parameters'] is None else group.sizes()
    for parameters, tokens in sizes:
      best = optimum.find(
        told,
        found.of_size(parameters, tokens).points,
        parameters=parameters,
        tokens=tokens,
        agent_weight=method.agent_weight,
        level=method.level,
      )
      plain = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in dataclasses.asdict(best).items()
      }
      optima.append({'parameters': parameters, 'tokens': tokens, **plain})
  return optima


def recommend(
  found: study.Study,
  drawn: dict[str, list[Draws]],
  left_out: dict[str, list[dict[str, float | None]]],
  optima: dict[str, list[dict[str, Any]]],
  method: Method,
) -> dict[str, Any] | None:
  """The best share at the largest size, by the law that predicts best.

  That is the law with the least error on mixtures that it wasn't fitted to, a
  mean over losses and sizes, among those that explain every loss there and
  whose optimum isn't inside by construction. Its own interval takes the law for
  true; so the interval here spans those of all laws that predict about as well.

  Returns:
    {'law', 'left_out_error', 'laws': {name: error} whose intervals count,
    'parameters', 'tokens', 'share', 'low', 'high', 'inside', 'verdict',
    'draws_inside', 'gain', 'by_seed': {seed: the share that its runs alone
    give, None where they don't}}, or None where no law explains every loss.
  """
  largest = found.sizes()[-1]
  off: dict[str, float] = {}
  best: dict[str, dict[str, Any]] = {}
  for name in laws.LAWS:
    errors_of = [error for one in left_out[name] for error in one.values()]
    known = [error for error in errors_of if error is not None]
    there = [
      one
      for one in optima[name]
      if (one['parameters'], one['tokens']) == largest
    ]
    if name in laws.INSIDE_BY_CONSTRUCTION or not there:
      continue
    if len(known) == len(errors_of):
      off[name], best[name] = float(np.mean(known)), there[0]
  if not off:
    return None
  chosen = min(off, key=off.__getitem__)
  heard = [name for name in off if off[name] <= COMPARABLE * off[chosen]]
  low = min(best[name]['low'] for name in heard)
  high = max(best[name]['high'] for name in heard)
  x_G = best[chosen]['x_G']
  inside = best[chosen]['inside']
  return {
    **{
      key: value
      for key, value in best[chosen].items()
      if not key.endswith('_G')
    },
    'law': chosen,
    'left_out_error': off[chosen],
    'laws': {name: off[name] for name in heard},
    'low': low,
    'high': high,
    'verdict': optimum.verdict(inside, low, high, x_G[0], x_G[-1]),
    'by_seed': _by_seed(found, chosen, largest, drawn[chosen][-1], method),
  }


def _by_seed(
  found: study.Study,
  name: str,
  largest: tuple[float, float],
  drawn: Draws,
  method: Method,
) -> dict[str, float | None]:
  """The best share by the runs of each seed alone."""
  law, joint = laws.LAWS[name]
  group = found if joint else found.of_size(*largest)
  shares: dict[str, float | None] = {}
  for seed in np.unique(group.seeds_R):
    own = group.at(group.seeds_R == seed)
    alone: dict[str, optimum.Drawn] = {}
    for loss, loss_R in own.losses.items():
      agent = loss in own.agent_losses
      whole = drawn[loss]
      near_P = None if isinstance(whole, str) else whole.fitted.theta_P
      fitted = fits.fit(law, own.points, loss_R, agent, method.huber, near_P)
      if not isinstance(fitted, str):
        alone[loss] = optimum.Drawn(fitted, fitted.theta_P[None], agent)
    shares[str(seed)] = None
    if len(alone) == len(own.losses):
      shares[str(seed)] = optimum.find(
        alone,
        found.of_size(*largest).points,
        parameters=largest[0],
        tokens=largest[1],
        agent_weight=method.agent_weight,
        level=method.level,
      ).share
  return shares


def held_out(found: study.Study, method: Method) -> dict[str, Any] | None:
  """The largest size's losses, predicted from the smaller sizes alone.

  A law that fits the sizes that it knows may still be wrong beyond them. So the
  interval takes in what the same law got wrong one size earlier: the errors of
  its fit to all sizes below the largest known one, at that one.

  Returns:
    {'parameters': of the largest size, 'laws': {law: {loss: {'error': root mean
    square, 0.01 is 1 %; 'error_before': the same one size earlier, None where
    the sizes below don't tell the law, and the interval takes the law for true;
    'bias': mean of predicted over measured, less 1; 'inside': runs within the
    interval; 'runs'; 'predicted': [{'agent', 'measured', 'predicted', 'low',
    'high'}]} or {'reason'}}}}, or None where there is one size.
  """
  small, large = _largest_apart(found)
  if not len(small.seeds_R):
    return None
  told: dict[str, dict[str, Any]] = {}
  for name, (law, joint) in laws.LAWS.items():
    if joint:
      told[name] = {
        loss: {'reason': one}
        if isinstance(one, str)
        else _predicted(
          one,
          large,
          large.losses[loss],
          _errors_before(law, small, loss, method),
          method,
        )
        for loss, one in _draw(name, small, method).items()
      }
  return {'parameters': float(large.points.parameters_R[0]), 'laws': told}


def _largest_apart(found: study.Study) -> tuple[study.Study, study.Study]:
  """The runs of all sizes but the largest, and those of the largest."""
  n_R = found.points.parameters_R
  return found.at(n_R < n_R.max()), found.at(n_R == n_R.max())


def _errors_before(
  law: laws.Law, found: study.Study, loss: str, method: Method
) -> np.ndarray | None:
  """The log of measured over predicted at the largest size, from those below.

  None where the sizes below don't tell the law's parameters.
  """
  small, large = _largest_apart(found)
  if not len(small.seeds_R):
    return None
  agent = loss in found.agent_losses
  fitted = fits.fit(law, small.points, small.losses[loss], agent, method.huber)
  if isinstance(fitted, str):
    return None
  return np.asarray(np.log(large.losses[loss] / fitted.loss(large.points)))


def _predicted(
  drawn: optimum.Drawn,
  large: study.Study,
  loss_R: np.ndarray,
  before_R: np.ndarray | None,
  method: Method,
) -> dict[str, Any]:
  """What a law says of runs that it has not seen, beside what they are."""
  points = large.points
  center_R = drawn.fitted.loss(points)
  low_R, high_R = fits.predicted_interval(
    *(drawn.fitted, drawn.theta_BP, points, method.level),
    np.random.default_rng(method.seed),
    before_R,
  )
  off_R = np.log(center_R / loss_R)
  return {
    'error': _root_mean_square(off_R),
    'error_before': None if before_R is None else _root_mean_square(before_R),
    'bias': float(np.expm1(off_R.mean())),
    'inside': int(((low_R <= loss_R) & (loss_R <= high_R)).sum()),
    'runs': len(loss_R),
    'predicted': [
      {
        'agent': float(points.agent_R[i]),
        'measured': float(loss_R[i]),
        'predicted': float(center_R[i]),
        'low': float(low_R[i]),
        'high': float(high_R[i]),
      }
      for i in range(len(loss_R))
    ],
  }


def _root_mean_square(values_R: np.ndarray) -> float:
  return float(np.sqrt(np.mean(values_R**2)))


def _show(result: dict[str, Any]) -> None:
  """The outcome, in a few lines for a person."""
  left = ', '.join(f'{n} {why}' for why, n in result['left_out'].items())
  print(f'{len(result["runs"])} runs' + (f'; left out: {left}' if left else ''))
  level = f'{100 * result["method"]["level"]:.0f} %'
  for name, optima in result['optima'].items():
    for best in optima:
      print(
        f'{name:<22} {best["parameters"]:>12,.0f} parameters: '
        f'{best["share"]:.2f} agent data ({level}: {best["low"]:.2f} to '
        f'{best["high"]:.2f}), {best["verdict"]}'
      )
  chosen = result['recommended']
  if chosen is None:
    print('no recommendation: no law explains every loss')
    return
  print(
    f'recommended: {chosen["share"]:.2f} ({chosen["low"]:.2f} to '
    f'{chosen["high"]:.2f}), {chosen["verdict"]}; by {chosen["law"]}, which '
    f'is {100 * chosen["left_out_error"]:.2f} % off where it was not fitted; '
    f'interval over {", ".join(chosen["laws"])}'
  )
