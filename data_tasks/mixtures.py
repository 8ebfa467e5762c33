"""What stages I and II learn from, and how much of each.

Hephaestus mixes agent data, text and code about 1:1:1, with 36 % agent data
(section 4), trains stage I on all of it and stage II on the seed: tool
documentation and trajectories. Within a kind, every source has its share by
size, so that all its sources pass through an epoch together.
"""

import seqio

from data_tasks import sources

# Mixture -> share of its rows by kind.
RATES = {
  'forge_stage1_v1': {
    'documentation': 0.28,
    'trajectory': 0.08,
    'text': 0.32,
    'code': 0.32,
  },
  'forge_stage2_v1': {'documentation': 0.80, 'trajectory': 0.20},
  # The control run: the same steps in stages I and II without agent data.
  'control_stage1_v1': {'text': 0.50, 'code': 0.50},
}

for _kind in RATES['forge_stage1_v1']:
  seqio.MixtureRegistry.add(
    f'{_kind}_v1',
    sources.tasks_of(_kind),
    default_rate=sources.corpus_bytes,
  )

for _name, _rates in RATES.items():
  seqio.MixtureRegistry.add(
    _name, [(f'{kind}_v1', rate) for kind, rate in _rates.items()]
  )
