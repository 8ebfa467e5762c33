"""Conversations for stage III: a Task per instruction source, and their sum."""

import seqio

from data_tasks import sources
from hephaestus_jax.corpus import catalogue

for _source in catalogue.SOURCES:
  if _source.kind == 'instruction':
    sources.add_task(_source)

seqio.MixtureRegistry.add(
  'instruction_v1',
  sources.tasks_of('instruction'),
  default_rate=sources.corpus_bytes,
)
