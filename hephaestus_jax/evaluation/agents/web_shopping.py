"""AgentBench's WS: buying in WebShop what an instruction asks for.

The agent searches, turns pages, chooses options and buys, in WebShop's words
and with its reward (Yao et al. 2022, section 3.1). The search is BM25 and the
shop is `our_shop`: WebShop's products come with no package, and its
reward finds the nouns of titles by a language model of its own. So a score here
is never AgentBench's.
"""

import contextlib
import dataclasses
import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax.evaluation.agents import episode, our_shop

PER_PAGE, FOUND = 10, 50  # products on a page, and of a search in all
SEPARATOR = ' [SEP] '
BACK, NEXT, PREVIOUS, BUY = 'back to search', 'next >', '< prev', 'buy now'
PARTS = ('description', 'features', 'reviews')

INSTRUCTIONS = """\
You shop on a web site, as an instruction tells you. In each turn you see a \
page and the actions that it has: whether there is a search bar, and what can \
be clicked. Answer with one action:

search[words], where there is a search bar;
click[something], one of the clickables.

Any other action does nothing. Choose the words of a search well, choose the \
options that are asked for, and buy once. Write:

Thought:
why

Action:
click[something]"""
EXAMPLE = (
  INSTRUCTIONS,
  'Ok.',
  'Observation:\nWebShop [SEP] Instruction: [SEP] i want a blue enamel mug, '
  'and price lower than 20.00 dollars [SEP] Search\n\nAvailable Actions:\n'
  '{"has_search_bar": true, "clickables": ["search"]}',
  'Thought:\nI look for it by its name.\n\nAction:\nsearch[blue enamel mug]',
  'Observation:\nInstruction: [SEP] i want a blue enamel mug, and price lower '
  'than 20.00 dollars [SEP] Back to Search [SEP] Page 1 (Total results: 1) '
  '[SEP] M00000001A [SEP] Harbour Enamel Mug [SEP] $12.00\n\nAvailable '
  'Actions:\n{"has_search_bar": false, "clickables": ["back to search", '
  '"m00000001a"]}',
  'Thought:\nIt is cheap enough; I look whether there is a blue one.\n\n'
  'Action:\nclick[m00000001a]',
)


@dataclasses.dataclass(frozen=True)
class WebShop:
  """The environment.

  Attributes:
    prompt: see `episode.opening`.
    rounds: AgentBench's 10.
  """

  prompt: str | None = None
  rounds: int = 10
  name: str = 'ws'
  licence: str = 'Apache-2.0'

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    return {
      'data': episode.OURS,
      'prompt': episode.origin(self.prompt),
      'rounds': self.rounds,
    }

  def tasks(self) -> list[episode.Task]:
    """A task per goal of the shop's."""
    return [
      episode.Task(f'goal-{i:03}', {'goal': i})
      for i in range(len(our_shop.goals()))
    ]

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """The shop as it is when somebody comes in."""
    yield _episode(our_shop.goals()[task.record['goal']], self.prompt)


@dataclasses.dataclass
class _Visit:
  """Where somebody is in the shop.

  Attributes:
    goal: what they want.
    results: of the last search; None before one, and back at the start.
    page: of the results, from 0.
    product: the one that they look at.
    part: of its page, one of PARTS.
    chosen: option -> value.
    bought: whether they have.
  """

  goal: our_shop.Goal
  results: list[our_shop.Product] | None = None
  page: int = 0
  product: our_shop.Product | None = None
  part: str = ''
  chosen: dict[str, str] = dataclasses.field(default_factory=dict)
  bought: bool = False

  def shown(self) -> tuple[str, list[str]]:
    """(the page as text, what can be clicked)."""
    told = ['Instruction:', self.goal.instruction]
    if self.results is None:
      return SEPARATOR.join(['WebShop', *told, 'Search']), ['search']
    told.append('Back to Search')
    if self.product is None:
      return self._list(told)
    told.append('< Prev')
    if self.part:
      texts = {
        'description': [f'A {self.product.kind}. {self.product.category}.'],
        'features': list(self.product.features),
        'reviews': ['No reviews yet.'],
      }
      return SEPARATOR.join([*told, *texts[self.part]]), [BACK, PREVIOUS]
    clickables = [BACK, PREVIOUS]
    for name, values in self.product.options.items():
      told += [name, *values]
      clickables += values
    told += [self.product.title, f'Price: ${self.product.price:.2f}']
    told += ['Rating: N.A.', *(part.title() for part in PARTS), 'Buy Now']
    return SEPARATOR.join(told), [*clickables, *PARTS, BUY]

  def _list(self, told: list[str]) -> tuple[str, list[str]]:
    assert self.results is not None
    told.append(f'Page {self.page + 1} (Total results: {len(self.results)})')
    clickables = [BACK]
    first = self.page * PER_PAGE
    if first + PER_PAGE < len(self.results):
      told.append('Next >')
      clickables.append(NEXT)
    if self.page:
      told.append('< Prev')
      clickables.append(PREVIOUS)
    for product in self.results[first : first + PER_PAGE]:
      told += [product.name, product.title, f'${product.price:.2f}']
      clickables.append(product.name.lower())
    return SEPARATOR.join(told), clickables

  def do(self, kind: str, what: str) -> None:
    """An action; one that the page doesn't have does nothing."""
    what = what.strip().lower()
    _, clickables = self.shown()
    if kind == 'search':
      if self.results is None and what:
        self.results, self.page = search(what), 0
    elif what not in clickables or what == 'search':
      pass
    elif what == BACK:
      self.results, self.product, self.part, self.chosen = None, None, '', {}
    elif what == NEXT:
      self.page += 1
    elif what == PREVIOUS:
      self._previous()
    elif what == BUY:
      self.bought = True
    elif what in PARTS and self.product is not None:
      self.part = what
    elif self.product is not None:
      for name, values in self.product.options.items():
        if what in values:
          self.chosen[name] = what
    else:
      self.product = _by_name()[what]

  def _previous(self) -> None:
    if self.part:
      self.part = ''
    elif self.product is not None:
      self.product, self.chosen = None, {}
    else:
      self.page -= 1


def _episode(goal: our_shop.Goal, prompt: str | None) -> episode.Episode:
  visit = _Visit(goal)

  def told() -> str:
    page, clickables = visit.shown()
    actions = {
      'has_search_bar': visit.results is None,
      'clickables': clickables,
    }
    return f'Observation:\n{page}\n\nAvailable Actions:\n{json.dumps(actions)}'

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    thought, kind, what = parse(reply)
    if not kind:
      return episode.Turn(thought=reply, status=episode.INVALID_FORMAT)
    visit.do(kind, what)
    action = f'{kind}[{what}]'
    if visit.bought:
      return episode.Turn(thought, action, status=episode.COMPLETED)
    return episode.Turn(thought, action, observation=told())

  def score(status: str) -> float:
    if not visit.bought or visit.product is None:
      return 0.0
    return reward(visit.product, visit.chosen, goal)

  def solution() -> str:
    if visit.results is None:
      return f'Action:\nsearch[{goal.product.title}]'
    if visit.product is None:
      return f'Action:\nclick[{goal.product.name}]'
    for name, value in goal.options.items():
      if visit.chosen.get(name) != value:
        return f'Action:\nclick[{value}]'
    return 'Action:\nclick[Buy Now]'

  return episode.Episode(
    (*episode.opening(prompt, EXAMPLE), episode.user(told())),
    goal.instruction,
    act,
    score,
    solution,
  )


_ACTION = re.compile(r'[Aa]ction: *\n* *(search|click)\[(.+?)\]')


def parse(reply: str) -> tuple[str, str, str]:
  r"""(thought, 'search' or 'click', what) of a reply; '' where it has none.

  >>> parse('Thought:\nThat one.\n\nAction:\nclick[Buy Now]')
  ('That one.', 'click', 'Buy Now')
  >>> parse('buy it')
  ('', '', '')
  """
  found = _ACTION.search(reply)
  if not found:
    return '', '', ''
  thought = reply[: found.start()].strip().removeprefix('Thought:').strip()
  return thought, found[1], found[2]


def reward(
  product: our_shop.Product, chosen: Mapping[str, str], goal: our_shop.Goal
) -> float:
  """What buying a product with these options is worth: 0.0 to 1.0.

  The share of the wanted attributes, options and price that it has, times how
  much it is the wanted kind of thing: by the words of the title, where the
  category doesn't say so (0, 0.1, 0.5 or 1, as in WebShop).
  """
  wanted = _words(goal.product.title)
  shared = len(wanted & _words(product.title)) / len(wanted)
  kind = 1.0
  if shared <= 0.2 and product.category != goal.product.category:
    kind = 0.5
  if shared < 0.1:
    kind = 0.1
  if not shared:
    kind = 0.0
  has = sum(one in product.attributes for one in goal.attributes)
  has += sum(chosen.get(name) == one for name, one in goal.options.items())
  has += product.price <= goal.price_below
  return kind * has / (len(goal.attributes) + len(goal.options) + 1)


def _words(title: str) -> set[str]:
  return {word for word in re.findall(r'[a-z]+', title.lower())}


@functools.cache
def _by_name() -> dict[str, our_shop.Product]:
  return {product.name.lower(): product for product in our_shop.products()}


@functools.cache
def _index() -> list[tuple[our_shop.Product, Counter[str]]]:
  """Each product with how often a word is in its title, category, features."""
  return [
    (one, Counter(_terms(' '.join([one.title, one.category, *one.features]))))
    for one in our_shop.products()
  ]


def _terms(text: str) -> list[str]:
  return re.findall(r'[^\W_]+', text.lower())


def search(words: str) -> list[our_shop.Product]:
  """The products that the words fit best, the best first.

  By BM25 (Robertson and Zaragoza 2009, equation 3.15, k1 = 1.2, b = 0.75).
  SQLite has it in its full-text index, but not the SQLite that TensorFlow
  brings along, which takes the other's place in a process that loads both.
  """
  index = _index()
  mean = sum(held.total() for _, held in index) / len(index)
  scores = dict.fromkeys((one.name for one, _ in index), 0.0)
  for word in _terms(words)[:64]:
    having = sum(word in held for _, held in index)
    rare = max(math.log((len(index) - having + 0.5) / (having + 0.5)), 1e-6)
    for one, held in index:
      if count := held[word]:
        length = 0.25 + 0.75 * held.total() / mean
        scores[one.name] += rare * count * 2.2 / (count + 1.2 * length)
  found = sorted(
    (one for one, _ in index if scores[one.name] > 0),
    key=lambda one: (-scores[one.name], one.name),
  )
  return found[:FOUND]
