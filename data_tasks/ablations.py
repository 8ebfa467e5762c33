"""What the ablations learn from instead (gin/ablations), and the whole Forge.

Two corpora have the same mixtures: the demo's, of registry packages, and the
paper's, whose mixtures begin with 'whole_'. An ablation changes agent data and
leaves its share of 36 % as it is, or it changes the shares and nothing else.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import seqio
import tensorflow as tf

from data_tasks import (
  instruction,  # noqa: F401 (registers the Tasks of stage III)
  mixtures,
  preprocessors,
  sources,
  vocabularies,
)
from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.catalogue import general, made, packages, seed

AGENT_KINDS = ('documentation', 'trajectory')
# Documentation of libraries and programs; the rest is of services.
MANUALS = (
  *('awscli_docs', 'ansible_docs', 'python_docs', 'python_module', 'torch_doc'),
  *('pandas_doc', 'python_qa_api', 'langchain_docs', 'code_library'),
)
# Formats of trajectories in which an agent acts, sees what comes of it and acts
# again; in the others it only writes calls.
SESSIONS = ('Dialog', 'ReAct', 'NL Plan', 'Plain Text')
# agent : text : code.
RATIOS = ('2_1_1', '1_2_2', '1_2_1', '1_1_2')
WITHOUT_OBSERVATIONS = 'without_observations_v1'


@dataclasses.dataclass(frozen=True)
class Corpus:
  """What mixtures are made of.

  Attributes:
    prefix: of their names.
    sources: all but instructions.
    retrieved: those that hold what was retrieved, of whatever kind.
    part_of: the part of a mixture that a source belongs to; within a part,
      sources have their shares by size.
    stage1: the shares of stage I by part.
    stage2: those of stage II.
  """

  prefix: str
  sources: tuple[source.Source, ...]
  retrieved: tuple[str, ...]
  part_of: Callable[[source.Source], str]
  stage1: Mapping[str, float]
  stage2: Mapping[str, float]


def is_agent(corpus: Corpus, of: source.Source) -> bool:
  """Whether a source is agent data: of its kinds, or retrieved."""
  return of.kind in AGENT_KINDS or of.name in corpus.retrieved


DEMO = Corpus(
  prefix='',
  sources=packages.SOURCES,
  # The demo retrieves nothing. What its learned filter selects stands for it.
  retrieved=('python_docs',),
  part_of=lambda of: of.kind,
  stage1=mixtures.RATES['forge_stage1_v1'],
  stage2=mixtures.RATES['forge_stage2_v1'],
)
_WEB = ('fineweb', 'commoncrawl_wet', 'commoncrawl_warc')  # to retrieve from
WHOLE: Corpus = Corpus(
  prefix='whole_',
  sources=tuple(
    of
    for of in (*seed.SOURCES, *general.SOURCES, *made.SOURCES)
    if of.name not in _WEB
  ),
  retrieved=('retrieved_web',),
  # By size: the paper tells no shares of seed and retrieved data.
  part_of=lambda of: 'agent' if is_agent(WHOLE, of) else of.kind,
  stage1={'agent': 0.36, 'text': 0.32, 'code': 0.32},
  stage2={'agent': 1.0},
)


def family(corpus: Corpus, of: source.Source) -> str:
  """The family of sources that is left out together.

  >>> family(DEMO, botocore_docs), family(WHOLE, toolbench)
  ('api_reference', 'sessions')
  """
  if of.name in corpus.retrieved and of.kind not in AGENT_KINDS:
    return 'retrieved'
  if of.kind == 'documentation':
    return 'manuals' if of.name in MANUALS else 'api_reference'
  if of.kind == 'trajectory':
    form = of.format if isinstance(of, source.DataSet) else 'Dialog'
    calls = form not in SESSIONS or of.name == 'botocore_sessions'
    return 'call_sequences' if calls else 'sessions'
  return of.kind


FAMILIES = ('api_reference', 'manuals', 'call_sequences', 'sessions')


def without_roles(
  dataset: tf.data.Dataset, roles: tuple[str, ...]
) -> tf.data.Dataset:
  """Takes the segments of some roles out of the corpus' records.

  Without 'observation', {'roles': ['action', 'observation'], 'texts': ['ls',
  'a.txt']} becomes {'roles': ['action'], 'texts': ['ls']}.
  """

  def cut(record: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    is_other = record['roles'][:, None] != tf.constant(roles)[None, :]
    kept = tf.reduce_all(is_other, axis=1)
    columns = {n: tf.boolean_mask(record[n], kept) for n in ('roles', 'texts')}
    return {**record, **columns}

  return dataset.map(cut).filter(lambda record: tf.size(record['roles']) > 0)


def shares(
  corpus: Corpus, rates: Mapping[str, float], left: frozenset[str]
) -> dict[str, float]:
  """The shares of the parts that are left; agent data keeps its own in all.

  >>> shares(DEMO, {'documentation': 0.3, 'trajectory': 0.1, 'text': 0.6},
  ...        frozenset({'trajectory', 'text'}))
  {'trajectory': 0.4, 'text': 0.6}
  """

  def total(parts: Mapping[str, float], agent: bool) -> float:
    return sum(rate for part, rate in parts.items() if agent == _agent(part))

  kept = {part: rate for part, rate in rates.items() if part in left}
  return {
    part: rate * total(rates, _agent(part)) / total(kept, _agent(part))
    for part, rate in kept.items()
  }


def _agent(part: str) -> bool:
  return part in (*AGENT_KINDS, 'agent')


# Takes a corpus and a source, and gives the Task that stands for it, or None.
Choice = Callable[[Corpus, source.Source], str | None]


def _only(kind: str) -> Choice:
  return lambda corpus, of: (
    None
    if is_agent(corpus, of) and of.kind != kind
    else sources.task_name(of.name)
  )


def _without(left_out: str) -> Choice:
  return lambda corpus, of: (
    None if family(corpus, of) == left_out else sources.task_name(of.name)
  )


def _seed(choice: Choice) -> Choice:
  """A choice for stage II, which reads nothing that was retrieved."""
  return lambda corpus, of: (
    choice(corpus, of) if of.kind in AGENT_KINDS else None
  )


def _without_retrieved(corpus: Corpus, of: source.Source) -> str | None:
  return None if of.name in corpus.retrieved else sources.task_name(of.name)


def _without_observations(corpus: Corpus, of: source.Source) -> str:
  del corpus
  if of.kind == 'trajectory':
    return f'{of.name}_{WITHOUT_OBSERVATIONS}'
  return sources.task_name(of.name)


def _all(corpus: Corpus, of: source.Source) -> str:
  del corpus
  return sources.task_name(of.name)


AGENT_CHOICES: Mapping[str, Choice] = {
  'without_retrieval': _without_retrieved,
  'without_observations': _without_observations,
  'only_documentation': _only('documentation'),
  'only_trajectories': _only('trajectory'),
  **{f'without_{name}': _without(name) for name in FAMILIES},
}


def add(
  corpus: Corpus, name: str, rates: Mapping[str, float], choice: Choice
) -> None:
  """Registers a mixture, and a mixture of each of its parts."""
  tasks: dict[str, list[str]] = {}
  for of in corpus.sources:
    task = choice(corpus, of) if of.kind != 'instruction' else None
    if task is not None and corpus.part_of(of) in rates:
      tasks.setdefault(corpus.part_of(of), []).append(task)
  full = f'{corpus.prefix}{name}_v1'
  for part, names in tasks.items():
    seqio.MixtureRegistry.add(
      f'{part}_of_{full}', names, default_rate=sources.corpus_bytes
    )
  seqio.MixtureRegistry.add(
    full,
    [
      (f'{part}_of_{full}', share)
      for part, share in shares(corpus, rates, frozenset(tasks)).items()
    ],
  )


def ratio(corpus: Corpus, agent: int, text: int, code: int) -> dict[str, float]:
  """The shares of stage I at another agent : text : code.

  >>> ratio(WHOLE, 2, 1, 1)
  {'agent': 0.5, 'text': 0.25, 'code': 0.25}
  """
  general_shares = {'text': text, 'code': code}
  agent_share = sum(r for p, r in corpus.stage1.items() if _agent(p))
  return {
    part: (agent * rate / agent_share if _agent(part) else general_shares[part])
    / (agent + text + code)
    for part, rate in corpus.stage1.items()
  }


for _corpus in (DEMO, WHOLE):
  for _source in _corpus.sources:
    if _source.kind == 'trajectory':
      seqio.TaskRegistry.add(
        f'{_source.name}_{WITHOUT_OBSERVATIONS}',
        source=sources.CorpusSource([_source.name], sources.SPLITS),
        preprocessors=[
          functools.partial(without_roles, roles=('observation',)),
          preprocessors.tokenize_documents,
        ],
        output_features=vocabularies.OUTPUT_FEATURES,
      )
  for _name, _choice in AGENT_CHOICES.items():
    add(_corpus, f'forge_stage1_{_name}', _corpus.stage1, _choice)
    add(_corpus, f'forge_stage2_{_name}', _corpus.stage2, _seed(_choice))
  for _kind in ('text', 'code'):
    add(
      _corpus, f'forge_stage1_without_{_kind}', _corpus.stage1, _without(_kind)
    )
  for _ratio in RATIOS:
    _numbers = map(int, _ratio.split('_'))
    add(_corpus, f'forge_stage1_{_ratio}', ratio(_corpus, *_numbers), _all)

# The demo's own are in mixtures.py and instruction.py.
add(WHOLE, 'forge_stage1', WHOLE.stage1, _all)
add(WHOLE, 'forge_stage2', WHOLE.stage2, _seed(_all))
add(WHOLE, 'control_stage1', {'text': 0.5, 'code': 0.5}, _all)
seqio.MixtureRegistry.add(
  'whole_instruction_v1',
  [
    sources.task_name(of.name)
    for of in general.SOURCES
    if of.kind == 'instruction'
  ],
  default_rate=sources.corpus_bytes,
)
