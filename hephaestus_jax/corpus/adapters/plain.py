"""Plain text and code: rows and files that are nothing else.

Titles come first, as a part of their own. Left out is what tells of a row and
not to a reader: addresses, dates, scores, hashes, quality signals.
"""

from typing import Any

from hephaestus_jax.corpus.adapters import entry, fields, parts


def text(record: Any) -> parts.Segments:
  """A row or file of general text.

  FineWeb, C4, OpenWebMath, arXiv, plain files have `text`, Wikipedia a `title`
  beside it, RedPajama-v2 has `raw_content`.

  >>> text({'id': '12', 'title': 'Tea', 'text': 'Tea is a drink.'})
  (Segment(role='text', text='Tea'),
   Segment(role='text', text='Tea is a drink.'))

  Raises:
    entry.MalformedError: 'no_text', 'empty_text', 'text_is_int', ...
  """
  return _titled(record, 'text', 'text', 'raw_content', 'content')


def documentation(record: Any) -> parts.Segments:
  """A row or file of documentation: a page or a chunk of one.

  LangChain and AWS have `text`, CodeRAG-Bench `doc_content`, its index of
  DevDocs a `name`.

  >>> documentation({'name': 'abort()', 'path': 'api#abort', 'type': 'flask',
  ...                'text': 'Raises an exception.'})
  (Segment(role='documentation', text='abort()'),
   Segment(role='documentation', text='Raises an exception.'))
  """
  return _titled(record, 'documentation', 'text', 'doc_content', 'content')


def _titled(record: Any, role: str, *names: str) -> parts.Segments:
  body = fields.text(record, parts.present(record, *names))
  title = parts.loose(record, 'title', 'name', 'doc_id')
  # A page may open with it as its heading.
  heading = body.lstrip().partition('\n')[0].rstrip()
  return parts.segments((role, '' if heading == title else title), (role, body))


# Files of these languages, as the Stack names them, are written to be read.
_PROSE = ('markdown', 'text', 'restructuredtext', 'asciidoc', 'org')


def code(record: Any) -> parts.Segments:
  """A row or file of code: The Stack's `content`, a plain file's `text`."""
  return parts.segments(_file(record))


def stack(record: Any) -> parts.Segments:
  """The Stack v2's row: the files of a repository, once their text is fetched.

  The published rows have identifiers alone; the loader adds `content`. A row
  that is a file, as in the Stack's first version, is read too.

  >>> stack({'repo_name': 'a/b', 'files': [
  ...   {'path': '/x.py', 'language': 'Python', 'content': 'x = 1'},
  ...   {'path': '/README.md', 'language': 'Markdown', 'content': 'Hi.'}]})
  (Segment(role='code', text='x = 1'), Segment(role='text', text='Hi.'))

  Raises:
    entry.MalformedError: 'no_content': nobody fetched the files.
  """
  if isinstance(record, dict) and 'files' not in record:
    return code(record)
  found = fields.items(record, 'files')
  for file in found:
    fields.value({'file': file}, 'file', dict)
  fetched = [file for file in found if file.get('content') is not None]
  if not fetched:
    raise entry.MalformedError('no_content')
  return parts.segments(
    *(_file(file) for file in fetched if parts.loose(file, 'content').strip())
  )


def _file(record: Any) -> parts.Part:
  text = fields.text(record, parts.present(record, 'content', 'text', 'code'))
  language = record.get('language')
  prose = isinstance(language, str) and language.lower() in _PROSE
  return ('text' if prose else 'code', text)
