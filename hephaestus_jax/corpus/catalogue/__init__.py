"""The sources of the corpus, all of them, by name.

`packages` has what is read from registry packages, `seed` the paper's 61 seed
sources (Tables 9 and 10), `general` instructions, text, code and the corpora
that agent data is retrieved from, `made` what our own commands write. A row is
data: nothing is looked up or opened before a source is asked for.

To add a data set, write a mapping from one record to segments (ten lines, in
`corpus/adapters/`) and a row that says where the files are:

    source.DataSet(
      name='tea_house',
      title='Tea House',
      kind='trajectory',
      format='Dialog',
      licence='MIT',
      location=source.Location(huggingface='tea/house'),
      files=(source.Files('data/*.parquet', dialog.chat),),
    ),

`hephaestus corpus --convert tea_house FILE --out DIR` then shows what becomes
of its records, and `--list` what is known.
"""

from hephaestus_jax import errors
from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.catalogue import (
  apis,
  general,
  made,
  packages,
  seed,
)

SOURCES: tuple[source.Source, ...] = (
  *packages.SOURCES,
  *seed.SOURCES,
  *general.SOURCES,
  *made.SOURCES,
  *apis.SOURCES,
)


def by_name(name: str) -> source.Source:
  """The source of that name.

  Raises:
    errors.UserError: there is none; the message names the nearest.
  """
  for found in SOURCES:
    if found.name == name:
      return found
  names = [found.name for found in SOURCES]
  hint = (
    errors.nearest(name, names) or ' `hephaestus corpus --list` shows them all.'
  )
  raise errors.UserError(f'There is no corpus source {name!r}.{hint}')
