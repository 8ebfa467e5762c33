"""Which split a document belongs to: decided by hashes, before all else."""

import dataclasses
import hashlib
from collections.abc import Collection

SPLITS = ('train', 'validation', 'heldout')
# What a data set's publisher held out for evaluation is of this group.
PUBLISHED = 'heldout'


@dataclasses.dataclass(frozen=True)
class Splits:
  """The rule. Adding documents never moves another one to a different split.

  What a publisher held out (the group PUBLISHED) is held out of every source.

  Attributes:
    heldout_share: the share of the groups of grouped sources that is held out.
      A group is a service: it is held out of every source at once.
    heldout_groups: groups that are held out in any case.
    validation_share: the share of the other documents that is for validation.
    grouped: names of the sources that the held-out split applies to.
  """

  heldout_share: float
  heldout_groups: Collection[str]
  validation_share: float
  grouped: Collection[str]

  def of(self, document_id: str) -> str:
    """'heldout', 'validation' or 'train' for a Document.id.

    >>> rule = Splits(0.0, ['s3'], 0.0, ['docs'])
    >>> rule.of('docs/s3/ListBuckets')
    'heldout'
    >>> rule.of('toolbench/heldout/G1-0')
    'heldout'
    """
    source, group, _ = document_id.split('/', 2)
    if group == PUBLISHED:
      return 'heldout'
    if source in self.grouped and (
      group in self.heldout_groups
      or _fraction(f'heldout:{group}') < self.heldout_share
    ):
      return 'heldout'
    if _fraction(f'validation:{document_id}') < self.validation_share:
      return 'validation'
    return 'train'


def _fraction(text: str) -> float:
  """A number from 0 to 1 that only depends on the text."""
  head = hashlib.sha256(text.encode()).digest()[:8]
  return int.from_bytes(head) / 2**64
