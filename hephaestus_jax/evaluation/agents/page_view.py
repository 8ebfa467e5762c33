"""Mind2Web's pages as text: what is near some elements, tags and words.

The pages are its `cleaned_html`: each element has a backend_node_id, each text
is an element <text> of its own.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ID = 'backend_node_id'
# What tells of an element, the most telling first.
TELLING = (
  *('role', 'aria_role', 'type', 'alt', 'aria_description', 'aria_label'),
  *('label', 'title', 'name', 'text_value', 'value', 'placeholder'),
  *('input_checked', 'input_value', 'option_selected', 'class'),
)
MEANINGLESS = ('hidden', 'none', 'presentation', 'null', 'undefined')
LONGEST_WORD = 14
WORDS_OF_VALUE = 5
WORDS = 20  # of an element's attributes together, and of a text
DEPTH, DESCENDANTS, SIBLINGS = 5, 50, 3


def pruned(page: Any, chosen: Sequence[str]) -> Any:
  """A copy of a page (an lxml element) with what is near the chosen elements.

  Kept are they, what they stand in, their descendants and their neighbours. Of
  those that are kept only the chosen have their id; what then says nothing and
  holds one element at most gives its place to that.
  """
  kept: set[str] = set()
  by_id = {node.get(ID): node for node in page.iter() if node.get(ID)}
  for name in chosen:
    node = by_id[name]
    near = [node, *node.iterancestors()]
    near += list(_descendants(node, DEPTH))[:DESCENDANTS]
    if (parent := node.getparent()) is not None:
      siblings = [child for child in parent if child.tag != 'text']
      place = siblings.index(node)
      near += siblings[max(0, place - SIBLINGS) : place + SIBLINGS + 1]
    kept.update(one.get(ID, '') for one in near)
  page = copy.deepcopy(page)
  for node in reversed(list(page.iter())):  # children before their parents
    parent = node.getparent()
    text = node.tag == 'text'
    name = (parent if text else node).get(ID, '')
    if name not in kept and parent is not None:
      parent.remove(node)
      continue
    if (text or name not in chosen) and ID in node.attrib:
      del node.attrib[ID]
    silent = not node.attrib and not any(c.tag == 'text' for c in node)
    if parent is not None and not text and silent and len(node) <= 1:
      for child in node:
        node.addprevious(child)
      parent.remove(node)
  return page


def _descendants(node: Any, depth: int) -> Iterator[Any]:
  for child in node:
    yield child
    if depth:
      yield from _descendants(child, depth - 1)


def text(node: Any, numbers: Mapping[str, int]) -> str:
  """An element as the model sees it.

  Args:
    node: an element of a pruned page.
    numbers: backend_node_id -> the number that stands for it.

  Returns:
    '<div> <button id=0 search> Find a table </button> <a home /> </div>'
  """
  return ' '.join(' '.join(_pieces(node, numbers)).split())


def _pieces(node: Any, numbers: Mapping[str, int]) -> Iterator[str]:
  if node.tag == 'text':
    # Mind2Web loses the quotes of texts, and keeps those of attributes.
    words = (node.text or '').split()[:WORDS]
    yield ' '.join(words).replace('"', ' ')
    return
  opening = [node.tag]
  if ID in node.attrib:
    opening.append(f'id={numbers[node.get(ID)]}')
  opening += _telling(node)
  if len(node) or node.text:
    yield f'<{" ".join(opening)}>'
    for child in node:
      yield from _pieces(child, numbers)
    yield f'</{node.tag}>'
  else:
    yield f'<{" ".join(opening)}{" " if len(opening) > 1 else ""}/>'


def _telling(node: Any) -> list[str]:
  """The words of its attributes, each value once."""
  values: list[str] = []
  for attribute in TELLING:
    value = node.get(attribute, '').lower()
    if value in MEANINGLESS or value.startswith('http'):
      continue
    words = [word for word in value.split() if len(word) <= LONGEST_WORD]
    value = ' '.join(words[:WORDS_OF_VALUE])
    if value and value not in values:
      values.append(value)
  return ' '.join(values).split()[:WORDS]
