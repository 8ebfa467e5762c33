"""One way to write a text, so that later steps compare like with like."""

import re
import unicodedata

from hephaestus_jax.corpus import document

# Control characters (but newline and tab), byte-order marks, and halves of
# surrogate pairs, which no UTF-8 file can hold.
UNWANTED = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff]')
MANY_BLANK_LINES = re.compile(r'\n{4,}')


def normalise(
  source_document: document.Document,
) -> document.Document | document.Drop:
  r"""Normalises every segment; drops the document when nothing is left.

  An empty segment goes too, except an observation: that a tool said nothing is
  a fact of a trajectory.

  >>> normalise(Document('s/g/n', 's', 'text', 'MIT', '',
  ...                    (Segment('text', 'One. \r\n\r\n\r\n\r\nTwo.\0\n'),)))
  Document('s/g/n', 's', 'text', 'MIT', '',
           (Segment('text', 'One.\n\n\nTwo.'),))
  """
  segments = tuple(
    document.Segment(segment.role, text)
    for segment in source_document.segments
    if (text := normalise_text(segment.text)) or segment.role == 'observation'
  )
  if not any(segment.text for segment in segments):
    return document.Drop(source_document.id, source_document.source, 'empty')
  # Not dataclasses.replace: it would cost more than the normalisation itself.
  return document.Document(
    source_document.id,
    source_document.source,
    source_document.kind,
    source_document.licence,
    source_document.url,
    segments,
  )


def normalise_text(text: str) -> str:
  r"""NFC, newlines as '\n', no trailing space, at most two blank lines.

  >>> normalise_text('Cafe\u0301 \r\nbar\n\n\n\n\nend\n')
  'Café\nbar\n\n\nend'
  """
  text = text.replace('\r\n', '\n').replace('\r', '\n')
  text = UNWANTED.sub('', text)
  text = unicodedata.normalize('NFC', text)
  text = '\n'.join([line.rstrip() for line in text.split('\n')])
  return MANY_BLANK_LINES.sub('\n\n\n', text).strip('\n')
