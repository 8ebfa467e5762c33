"""A run folder with plausible artefacts of every kind, in numbers we chose."""

import json
import math
import pathlib
from typing import Any

import pytest

TASKS = {
  # task: (kind, tokens of its training split)
  'service_docs_v1': ('documentation', 9_437_184),
  'command_docs_v1': ('documentation', 6_291_456),
  'python_code_v1': ('code', 7_340_032),
  'books_v1': ('text', 4_194_304),
  'service_calls_v1': ('instruction', 2_097_152),
  'shell_sessions_v1': ('trajectory', 1_048_576),
}
STEPS = {'stage1': 120, 'stage2': 60, 'stage3': 40}
TOKENS_A_STEP = 4096
STAGE_TASKS = {
  'stage1': (
    'service_docs_v1',
    'command_docs_v1',
    'python_code_v1',
    'books_v1',
  ),
  'stage2': ('service_docs_v1', 'command_docs_v1', 'shell_sessions_v1'),
  'stage3': ('service_calls_v1',),
}
CONTROL_TASKS = ('python_code_v1', 'books_v1')
STAGE_ROLES = {
  'stage1': ('documentation', 'code', 'text'),
  'stage2': ('documentation', 'thought', 'action', 'observation'),
  'stage3': ('action', 'answer'),
}
DROPS = [
  # step, source, in, out, drops
  ('read', 'service_docs', 40_310, 40_300, {'no_name': 10}),
  ('read', 'command_docs', 12_000, 12_000, {}),
  (
    'length',
    'service_docs',
    40_300,
    38_000,
    {'too_short': 2_290, 'too_long': 10},
  ),
  ('length', 'command_docs', 12_000, 11_900, {'too_short': 100}),
  (
    'deduplicate',
    'service_docs',
    38_000,
    31_500,
    {'exact': 4_000, 'near': 2_500},
  ),
  ('deduplicate', 'command_docs', 11_900, 11_850, {'exact': 50}),
]


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> pathlib.Path:
  folder = tmp_path / 'demo'
  write_run(folder)
  return folder


@pytest.fixture(scope='session')
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The same for tests that only read, or write what they find."""
  folder = tmp_path_factory.mktemp('whole') / 'demo'
  write_run(folder)
  return folder


def write_run(folder: pathlib.Path) -> None:
  """Writes what the whole road would leave behind."""
  _json(
    folder / 'corpus/drops.json',
    {
      'steps': [
        {'step': s, 'source': n, 'in': i, 'out': o, 'drops': d}
        for s, n, i, o, d in [
          *DROPS,
          ('read', 'all', 52_310, 52_300, {'no_name': 10}),
        ]
      ],
      'examples': {'length': {'too_short': [['service_docs/a/b', 'Too <']]}},
    },
  )
  _json(
    folder / 'corpus/composition.json',
    [
      {
        'source': task.removesuffix('_v1'),
        'kind': kind,
        'licence': 'Apache-2.0',
        'split': split,
        'documents': tokens // part,
        'characters': 2_000 * tokens // part,
      }
      for task, (kind, tokens) in TASKS.items()
      for split, part in (
        ('train', 512),
        ('validation', 65536),
        ('heldout', 8192),
      )
    ],
  )
  _json(
    folder / 'corpus/classifier.json',
    {
      'labels': {'service_docs': 'agent', 'books': 'general'},
      'filtered': ['news'],
      'training_documents': {'agent': 4_000, 'general': 3_900},
      'test': {
        'accuracy': 0.912,
        'f1': 0.91,
        'precision': 0.905,
        'recall': 0.915,
        'documents': 2_000,
      },
      'threshold': 0.41,
      'labels_file': None,
      'labelled_documents': 0,
      'held_out_by': 'group',
      'counted_in': 'characters',
      'scored': 1_000_000,
      'kept': 400_500,
      'ngrams': {
        label: [
          {
            'ngram': ngram,
            'agent': 120 if label == 'agent' else 3,
            'general': 4 if label == 'agent' else 96,
            'weight': 2.25,
            'score': 0.97 if label == 'agent' else 0.02,
          }
          for ngram in ngrams
        ]
        for label, ngrams in (
          ('agent', ('<required>', 'the request', 'aws cli')),
          ('general', ('he said', 'o lord')),
        )
      },
      'mistakes': [
        {
          'id': 'books/macbeth/7',
          'label': 'general',
          'score': 0.9,
          'text': 'call it <again>',
        }
      ],
      'nearest': [
        {'id': 'news/a/1', 'score': 0.4101, 'kept': True, 'text': 'a tool'},
        {'id': 'news/a/2', 'score': 0.4099, 'kept': False, 'text': 'a tale'},
      ],
    },
  )
  _json(folder / 'corpus/examples.json', EXAMPLES)
  _json(
    folder / 'retrieve/embedding_map.json',
    {
      'points': [
        [round(x + 0.1 * i, 3), round(x * x - 0.2 * i, 3), group]
        for i, group in enumerate(('seed', 'retrieved', 'general'))
        for x in (-1.5, 0.25, 2.0)
      ],
      'sources': ['service_docs'] * 9,
      'perplexity': 2.0,
      'seed': 0,
    },
  )
  _json(
    folder / 'corpus/decontamination.json',
    {
      'ngram': 13,
      'benchmarks': {
        'data/simple': {
          'strings': 400,
          'ngrams': 3_712,
          'short_strings': 11,
          'form_ngrams': 5,
          'documents': 2,
        },
        'heldout_requests': {
          'strings': 900,
          'ngrams': 8_020,
          'short_strings': 40,
          'form_ngrams': 0,
          'documents': 0,
        },
      },
      'not_checked': ['hotpotqa', 'mmlu'],
      'unknown_folders': [],
      'cut': [
        {
          'id': f'command_docs/s3/{name}',
          'benchmark': 'data/simple',
          'ngram': 'copy every object of the bucket',
        }
        for name in ('cp', 'mv')
      ],
    },
  )
  for task, (kind, tokens) in TASKS.items():
    for split, part in (('train', tokens), ('validation', tokens // 64)):
      _json(
        folder / f'cache/tasks/{task}/{split}/cache.json',
        {
          'task': task,
          'split': split,
          'tokens_by_kind': {kind: part},
          'dropped': {'too_long': 7} if kind == 'instruction' else {},
          'tokens': part,
          'documents': part // 512,
          'rows': part // 512,
        },
      )
  for run, floor in (('forge', 2.1), ('control', 3.0)):
    for stage in STEPS:
      _metrics(folder / run / stage, run, stage, floor)
    _json(
      folder / run / 'evaluation/bfcl.json',
      {
        'categories': BFCL[run],
        'summary': {'live_ast': None, 'irrelevance': 0.75},
      },
    )
  _json(folder / 'fits/fits.json', FITS)
  _json(folder / 'road.json', {'steps': ROAD})
  (folder / 'corpus/config.gin').write_text("build.build.seed = 0 # <'&'>\n")


FITS: dict[str, Any] = {
  'unit': 'nll_per_token',
  'agent_losses': ['function_calls'],
  'general_losses': ['general_text'],
  'method': {'agent_weight': 0.5, 'level': 0.9},
  'runs': [
    {
      'parameters': size,
      'tokens': 50 * size,
      'agent': share,
      'seed': seed,
      'losses': {
        'function_calls': 4.0 - share + 0.01 * seed,
        'general_text': 3.0 + share * share + 0.01 * seed,
      },
    }
    for size in (1e6, 3e6)
    for share in (0.0, 1.0)
    for seed in (0, 1)
  ],
  'left_out': {},
  'laws': {
    'power_of_share': [
      {
        'parameters': size,
        'tokens': 50 * size,
        'losses': {
          'function_calls': {
            'parameters': {
              'c': {'value': 2.0, 'low': 1.9, 'high': 2.1},
              'alpha': {'value': 0.5, 'low': 0.4, 'high': 0.6},
            },
            'runs': 4,
            'residual': 0.004,
            'left_out_error': 0.005,
          },
          'general_text': {'reason': '2 shares of agent data'},
        },
      }
      for size in (1e6, 3e6)
    ]
  },
  'curves': [
    {
      'parameters': size,
      'tokens': 50 * size,
      'loss': loss,
      'x': [0.0, 0.5, 1.0],
      'fitted': [4.0, 3.5, 3.0],
      'low': [3.9, 3.4, 2.9],
      'high': [4.1, 3.6, 3.1],
    }
    for size in (1e6, 3e6)
    for loss in ('function_calls', 'general_text')
  ],
  'optima': {
    'power_of_share': [
      {
        'parameters': 3e6,
        'tokens': 1.5e8,
        'share': 0.4,
        'low': 0.3,
        'high': 0.55,
        'inside': True,
        'draws_inside': 1.0,
        'gain': 0.0125,
        'verdict': 'interior optimum',
        'x_G': [0.0, 0.4, 1.0],
        'trade_off_G': [0.0125, 0.0, 0.03],
        'low_G': [0.01, 0.0, 0.02],
        'high_G': [0.02, 0.001, 0.04],
      }
    ]
  },
  'recommended': {
    'law': 'power_of_share',
    'laws': {'power_of_share': 0.004},
    'left_out_error': 0.004,
    'parameters': 3e6,
    'tokens': 1.5e8,
    'share': 0.4,
    'low': 0.3,
    'high': 0.55,
    'inside': True,
    'draws_inside': 1.0,
    'gain': 0.0125,
    'verdict': 'interior optimum',
    'by_seed': {'0': 0.38, '1': 0.42},
  },
  'held_out': {
    'parameters': 3e6,
    'laws': {
      'regression': {
        'function_calls': {
          'error': 0.012,
          'error_before': 0.034,
          'bias': -0.01,
          'inside': 3,
          'runs': 4,
          'predicted': [],
        }
      },
      'sum_of_terms': {
        'function_calls': {'reason': '2 sizes; a floor and a slope need 3'}
      },
    },
  },
}
EXAMPLES = {
  'service_docs': {
    'id': 'service_docs/s3/ListBuckets',
    'source': 'service_docs',
    'kind': 'documentation',
    'licence': 'Apache-2.0',
    'url': '',
    'roles': ['documentation'],
    'texts': ['# ListBuckets\n\nReturns <all> buckets.\n' + 'line\n' * 40],
  },
  'command_docs': {
    'id': 'command_docs/s3/ls',
    'source': 'command_docs',
    'kind': 'documentation',
    'licence': 'Apache-2.0',
    'url': '',
    'roles': ['documentation'],
    'texts': ['Not shown: of the same kind and format.'],
  },
  'shell_sessions': {
    'id': 'shell_sessions/s3/ls',
    'source': 'shell_sessions',
    'kind': 'trajectory',
    'licence': 'MIT',
    'url': '',
    'roles': ['user', 'action', 'observation', 'answer'],
    'texts': ['List them.', 'aws s3 ls', 'x' * 2_000, 'Done.'],
  },
}
BFCL = {
  'forge': {
    'simple': {
      'n': 40,
      'correct': 12,
      'accuracy': 0.3,
      'errors': {'no_call': 28},
    },
    'multiple': {
      'n': 20,
      'correct': 3,
      'accuracy': 0.15,
      'errors': {'type': 17},
    },
    'irrelevance': {'n': 24, 'correct': 18, 'accuracy': 0.75, 'errors': {}},
  },
  'control': {
    'simple': {
      'n': 40,
      'correct': 4,
      'accuracy': 0.1,
      'errors': {'no_call': 36},
    },
    'multiple': {
      'n': 20,
      'correct': 0,
      'accuracy': 0.0,
      'errors': {'type': 20},
    },
    'irrelevance': {'n': 24, 'correct': 19, 'accuracy': 0.7917, 'errors': {}},
  },
}
ROAD = [
  {'name': name, 'command': command, 'seconds': seconds, 'reused': False}
  for name, command, seconds in (
    ('corpus demo', 'corpus gin/runs/demo.gin', 171.3),
    ('cache demo', 'cache gin/runs/demo.gin', 88.0),
    ('train demo', 'train gin/runs/demo.gin', 312.5),
    ('train demo_control', 'train gin/runs/demo_control.gin', 305.9),
    ('evaluate demo', 'evaluate gin/runs/demo.gin', 61.2),
  )
]


def _metrics(folder: pathlib.Path, run: str, stage: str, floor: float) -> None:
  """A loss that falls towards `floor` over the stages, with a ripple."""
  tasks = STAGE_TASKS[stage]
  if run == 'control' and stage != 'stage3':
    tasks = CONTROL_TASKS
  done = sum(STEPS[s] for s in STEPS if s < stage)
  lines: list[dict[str, Any]] = []
  for step in range(0, STEPS[stage] + 1):
    loss = floor + 6 * math.exp(-(done + step) / 40)
    line: dict[str, Any] = {'step': step, 'tokens': step * TOKENS_A_STEP}
    if step % 2 == 0 and step:
      wave = loss + 0.08 * math.sin(step * 1.7) + 0.05 * math.sin(step * 5.1)
      line |= {
        'loss': wave,
        'learning_rate': 1e-3,
        'gradient_norm': 1.0,
        'tokens_per_second': 5_000.0 + step,
        'mfu': 0.3,
        'input_wait': 0.001 * (step % 5),
        'memory_bytes': 2_147_483_648,
        'seconds': 0.8 * step,
      }
      for i, task in enumerate(tasks):
        line[f'loss/source/{task}'] = wave + 0.3 * (i - 1)
      for i, role in enumerate(STAGE_ROLES[stage]):
        line[f'loss/role/{role}'] = wave + 0.2 * (1 - i)
      lines.append(line)
    if step in (0, STEPS[stage]) or step % 40 == 0:
      lines.append(
        {
          'step': step,
          'tokens': step * TOKENS_A_STEP,
          'evaluation/function_calls/examples': 812.0,
          'evaluation/function_calls/tokens': 20311.0,
          'evaluation/function_calls/nll_per_token': loss + 0.4,
          'evaluation/function_calls/nll_per_character': (loss + 0.4) / 3,
        }
      )
  _json(
    folder / 'inputs.json',
    {
      'stage': {
        'batch_size': 8,
        'optimizer': {'update_fns': [{'init': {'weight_decay': 0.01}}]},
      },
      'data': {'sequence_length': 512},
    },
  )
  (folder / 'metrics.jsonl').write_text(
    ''.join(json.dumps(line) + '\n' for line in lines)
  )


def _json(path: pathlib.Path, value: Any) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value))
