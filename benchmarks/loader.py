"""Tokens a CPU second that a training loop is handed, beside SeqIO and Grain.

    .venv/bin/python benchmarks/loader.py runs/loader --longest 2048
    .venv/bin/python benchmarks/loader.py runs/loader --sources 100

The first gives every loader the same documents of random tokens, as long as the
files of Python's standard library but cut at `--longest` tokens, in the form
that it reads:

- hephaestus: rows, packed once, as `hephaestus cache` leaves them;
- grain: a record of ArrayRecord per document, packed while reading: joined and
  cut again (concat), or whole where they first fit (first fit);
- seqio: a cache as `seqio_cache_tasks` leaves it, packed while reading by its
  feature converter for language models.

Three sources are mixed at uneven rates, shuffled, repeated, and batched by 16
rows of 2,048 tokens. The loaders take turns in one process: a machine that
slows down slows all. A turn counts the CPU time of all threads until reading
ahead has come to rest; files are in the kernel's memory; padding is no token. A
line of JSON per loader: the medians of the rounds, and of the ratios to ours.

The second opens that many sources and reads from a late step on, in a process
that has imported the loader and nothing else: seconds to the first batch, and
how far the proportional set size (PSS) grew over that of the imports.
"""

import argparse
import json
import pathlib
import statistics
import time
from collections.abc import Iterable, Iterator
from typing import Any

import measured
import numpy as np
from array_record.python import array_record_module

from hephaestus_jax import artefacts, data, packing
from hephaestus_jax.corpus import document

LENGTH = 2048
BATCH = 16
VOCABULARY = 16_000
SOURCES = 3
ROWS = 500  # of each source
LATE_STEP = 1_000_000
CHARACTERS_PER_TOKEN = 4
# Batches of a turn: about a second each.
TURNS = {
  'hephaestus': 500,
  'grain, concat': 20,
  'grain, first fit': 20,
  'seqio, pack': 20,
}


def names(sources: int) -> list[str]:
  """The sources' names."""
  return [f's{source:03d}' for source in range(sources)]


def rates(sources: int) -> list[float]:
  """Uneven, and the same every time."""
  found: list[float] = np.random.default_rng(0).dirichlet(np.ones(sources))
  return list(found)


def documents(source: int, longest: int) -> Iterator[np.ndarray]:
  """Random tokens; none of more than `longest`."""
  random = np.random.default_rng(source)
  files = sorted(pathlib.Path(json.__file__).parents[1].glob('*.py'))
  sizes = [file.stat().st_size // CHARACTERS_PER_TOKEN + 1 for file in files]
  left = ROWS * LENGTH
  while left > 0:
    size = min(int(random.choice(sizes)), left)
    left -= size
    # No 0: SeqIO takes it for padding.
    tokens = random.integers(1, VOCABULARY, size, dtype=np.int32)
    yield from np.split(tokens, range(longest, size, longest))


def write_records(path: pathlib.Path, records: Iterable[bytes]) -> int:
  """Writes an ArrayRecord file for random access; says how many records."""
  options = 'group_size:1,uncompressed'
  writer = array_record_module.ArrayRecordWriter(str(path), options)
  count = 0
  for record in records:
    writer.write(record)
    count += 1
  writer.close()
  return count


def write_rows(cache: pathlib.Path, sources: int, longest: int) -> None:
  """A mixture of packed rows, as `hephaestus cache` leaves them."""
  for source, name in enumerate(names(sources)):
    packed = packing.concat_rows(
      map(example, documents(source, longest)), LENGTH
    )
    with artefacts.written(cache / 'tasks' / name / 'train', {}) as partial:
      path = partial / 'rows-00000.array_record'
      count = write_records(path, (row.tobytes() for row in packed))
      file = {'name': path.name, 'rows': count, 'bytes': path.stat().st_size}
      info = {
        'rows': count,
        'tokens': count * LENGTH,
        'role_names': document.ROLES,
        'sequence_length': LENGTH,
        'tokenizer': 'none',
        'files': [file],
      }
      artefacts.write_json(partial / 'cache.json', info)
  (cache / 'mixtures').mkdir()
  shares = dict(zip(names(sources), rates(sources), strict=True))
  artefacts.write_json(cache / 'mixtures' / 'all.json', {'rates': shares})


def example(tokens: np.ndarray) -> packing.Example:
  """A document whose tokens are all text."""
  return packing.Example(
    tokens=tokens,
    roles=np.full(len(tokens), document.role_id('text'), np.uint8),
    characters=np.full(len(tokens), CHARACTERS_PER_TOKEN, np.int32),
    kind='code',
  )


def hephaestus(cache: pathlib.Path, step: int = 0) -> Iterator[Any]:
  """Batches as `hephaestus train` reads them."""
  mixture = data.Mixture(cache_dir=str(cache), mixture='all')
  return data.loader(mixture, batch_size=BATCH, start_step=step)


def write_documents(folder: pathlib.Path, longest: int) -> None:
  """A file of documents per source."""
  folder.mkdir()
  for source, name in enumerate(names(SOURCES)):
    tokens = (found.tobytes() for found in documents(source, longest))
    write_records(folder / f'{name}.array_record', tokens)


def grain(folder: pathlib.Path, packed: str) -> Iterator[Any]:
  """Shuffled, repeated and mixed by index; packed as they come."""
  import grain as library

  parts = [
    library.MapDataset.source(
      library.sources.ArrayRecordDataSource(
        [str(folder / f'{name}.array_record')]
      )
    )
    .seed(source)
    .shuffle()
    .repeat()
    for source, name in enumerate(names(SOURCES))
  ]
  options = library.ReadOptions(num_threads=2, prefetch_buffer_size=64)
  whole = (
    library.MapDataset.mix(parts, weights=rates(SOURCES))
    .map(lambda record: {'tokens': np.frombuffer(record, np.int32)})
    .to_iter_dataset(options)
  )
  length = {'tokens': LENGTH}
  if packed == 'concat':
    rows = library.experimental.ConcatThenSplitIterDataset(
      whole, length_struct=length
    )
  else:
    rows = library.experimental.FirstFitPackIterDataset(
      whole, length_struct=length, num_packing_bins=64
    )
  return iter(rows.batch(BATCH))


def register(cache: pathlib.Path, longest: int) -> None:
  """SeqIO's Tasks and their mixture; writes their cache where there is none."""
  import seqio as library
  import tensorflow as tf

  feature = library.Feature(
    library.PassThroughVocabulary(VOCABULARY), add_eos=False
  )
  for source, name in enumerate(names(SOURCES)):
    library.TaskRegistry.add(
      name,
      source=library.FunctionDataSource(
        lambda split, shuffle_files, seed=None, source=source: (
          tf.data.Dataset.from_generator(
            lambda: (
              {'targets': tokens} for tokens in documents(source, longest)
            ),
            output_signature={'targets': tf.TensorSpec([None], tf.int32)},
          )
        ),
        splits=['train'],
      ),
      preprocessors=[library.CacheDatasetPlaceholder()],
      output_features={'targets': feature},
    )
  shares = list(zip(names(SOURCES), rates(SOURCES), strict=True))
  library.MixtureRegistry.add('all', shares)
  cache.mkdir(exist_ok=True)
  library.add_global_cache_dirs([str(cache)])
  for source, name in enumerate(names(SOURCES)):
    if not (cache / name).exists():
      write_cache(cache / name, source, longest)


def write_cache(folder: pathlib.Path, source: int, longest: int) -> None:
  """What seqio_cache_tasks leaves: its Beam wants libraries that we don't."""
  import seqio as library
  import tensorflow as tf

  folder.mkdir()
  prefix = library.get_cached_tfrecord_prefix(str(folder), 'train')
  count = 0
  with tf.io.TFRecordWriter(f'{prefix}-00000-of-00001') as records:
    for tokens in documents(source, longest):
      made = library.dict_to_tfexample({'targets': tokens})
      records.write(made.SerializeToString())
      count += 1
  info = {
    'num_shards': 1,
    'features': {'targets': {'dtype': 'int32', 'shape': [None]}},
    'seqio_version': library.__version__,
  }
  for path, told in (
    (library.get_cached_info_path(str(folder), 'train'), info),
    (library.get_cached_stats_path(str(folder), 'train'), {'examples': count}),
  ):
    artefacts.write_json(pathlib.Path(path), told)
  (folder / 'COMPLETED').touch()


def seqio() -> Iterator[Any]:
  """As T5X reads a language model's cached mixture."""
  import seqio as library

  dataset = library.get_dataset(
    'all',
    {'targets': LENGTH},
    dataset_split='train',
    shuffle=True,
    seed=0,
    num_epochs=None,
    use_cached=True,
    feature_converter=library.LMFeatureConverter(pack=True),
  )
  return dataset.batch(BATCH).prefetch(2).as_numpy_iterator()


def tokens_of(batch: Any) -> int:
  """Those that are no padding."""
  for name in ('segment_ids_BL', 'decoder_segment_ids', 'tokens_segment_ids'):
    if name in batch:
      return int(np.count_nonzero(batch[name]))
  raise KeyError(f'no segment ids among {sorted(batch)}')


def rest() -> float:
  """Waits until nothing reads ahead; the CPU seconds that this took."""
  start = before = time.process_time()
  while True:
    time.sleep(0.1)
    now = time.process_time()
    if now - before < 0.005:
      return now - start
    before = now


def compare(folder: pathlib.Path, longest: int, rounds: int) -> None:
  """Prints a line per loader."""
  if not (folder / 'rows').exists():
    write_rows(folder / 'rows', SOURCES, longest)
  if not (folder / 'documents').exists():
    write_documents(folder / 'documents', longest)
  register(folder / 'seqio', longest)
  loaders = {
    'hephaestus': hephaestus(folder / 'rows'),
    'grain, concat': grain(folder / 'documents', 'concat'),
    'grain, first fit': grain(folder / 'documents', 'first fit'),
    'seqio, pack': seqio(),
  }
  rates_of: dict[str, list[float]] = {name: [] for name in loaders}
  fill = {}
  for turn in range(rounds + 1):
    for name, batches in loaders.items():
      tokens, start = 0, time.process_time()
      for _ in range(TURNS[name]):
        tokens += tokens_of(next(batches))
      rest()
      taken = time.process_time() - start
      if turn:  # the first opens files and fills buffers
        rates_of[name].append(tokens / taken)
        fill[name] = tokens / (TURNS[name] * BATCH * LENGTH)
  own = rates_of['hephaestus']
  for name, found in rates_of.items():
    ratios = [a / b for a, b in zip(own, found, strict=True)]
    told = {
      'loader': name,
      'tokens_per_cpu_s': round(statistics.median(found)),
      'hephaestus_is_times': round(statistics.median(ratios), 1),
      'fill': round(fill[name], 3),
      'longest_document': longest,
    }
    print(json.dumps(told), flush=True)


def many(cache: pathlib.Path, sources: int) -> None:
  """Prints what a mixture of many sources takes."""
  if not cache.exists():
    write_rows(cache, sources, LENGTH)
    print('The rows are written. Measure them in a process of its own: again.')
    return
  before = measured.memory()
  start = time.perf_counter()
  batches = hephaestus(cache, LATE_STEP)
  opened = time.perf_counter() - start
  next(batches)
  seek = time.perf_counter() - start
  with measured.measured() as found:
    for _ in range(1000):
      next(batches)
  told = {
    'sources': sources,
    'step': LATE_STEP,
    'opened_s': round(opened, 3),
    'first_batch_s': round(seek, 3),
    'own_PSS_MB': round((found.peak - before) / 1e6),
    'imports_PSS_MB': round(before / 1e6),
  }
  print(json.dumps(told))


def main() -> None:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--longest', type=int, default=LENGTH)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--sources', type=int)
  options = parser.parse_args()
  if options.sources:
    many(options.folder / f'{options.sources}-sources', options.sources)
  else:
    folder = options.folder / f'longest-{options.longest}'
    folder.mkdir(parents=True, exist_ok=True)
    compare(folder, options.longest, options.rounds)


if __name__ == '__main__':
  main()
