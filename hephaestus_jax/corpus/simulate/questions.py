"""Questions over articles as environments, after HotpotQA and ReAct's search.

`Search[title]` shows the beginning of an article, `Lookup[words]` the article's
next sentence with those words in it, `Finish[answer]` ends. A question carries
articles of its own (HotpotQA's `context`), and a folder can hold more.
"""

import dataclasses
import functools
import itertools
import pathlib
import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

from hephaestus_jax import artefacts, errors
from hephaestus_jax.corpus import lines
from hephaestus_jax.corpus.adapters import entry, fields
from hephaestus_jax.corpus.files import records
from hephaestus_jax.corpus.simulate import articles as shelf
from hephaestus_jax.corpus.simulate import environment

SHOWN = 5  # sentences of an article that a search shows
INSTRUCTIONS = """\
You answer a question with the help of an encyclopaedia. There are three \
actions. Search[title] shows the beginning of the article of that title, or \
titles like it. Lookup[words] shows the next sentence of that article which \
holds the words. Finish[answer] gives the answer, in as few words as possible, \
and ends the task."""
_ACTION = re.compile(r'\s*(search|lookup|finish)\s*\[(.*)\]\s*', re.I | re.S)


@dataclasses.dataclass(frozen=True)
class Question:
  """A record of a file of questions.

  Attributes:
    text: the question.
    answer: what is to be found.
    facts: (title, number of the sentence) of what it follows from, in order.
    context: its own articles, title -> sentences.
  """

  text: str
  answer: str
  facts: tuple[tuple[str, int], ...]
  context: Mapping[str, tuple[str, ...]]


def parse(record: Any) -> Question:
  """A HotpotQA record, with or without context and supporting facts.

  >>> parse({'question': 'Who wrote A?', 'answer': 'B',
  ...        'supporting_facts': [['A', 0]], 'context': [['A', ['B did.']]]})
  Question(text='Who wrote A?', answer='B', facts=(('A', 0),),
           context={'A': ('B did.',)})

  Raises:
    entry.MalformedError: 'no_question', 'no_answer' (as in test files),
      'context_malformed', 'supporting_facts_malformed' or as `fields` says.
  """
  question = fields.text(record, 'question')
  answer = fields.text(record, 'answer')
  context: dict[str, tuple[str, ...]] = {}
  for article in _list(record, 'context'):
    match article:
      case [str(title), [*sentences]] if all(
        isinstance(sentence, str) for sentence in sentences
      ):
        context[title] = tuple(' '.join(s.split()) for s in sentences)
      case _:
        raise entry.MalformedError('context_malformed')
  facts = []
  for fact in _list(record, 'supporting_facts'):
    match fact:
      case [str(title), int(number)] if number >= 0:
        facts.append((title, number))
      case _:
        raise entry.MalformedError('supporting_facts_malformed')
  return Question(question, answer, tuple(facts), context)


def _list(record: dict[str, Any], name: str) -> list[Any]:
  """The list `record[name]`; [] where it is missing or null."""
  return [] if record.get(name) is None else fields.items(record, name)


@dataclasses.dataclass(frozen=True)
class Questions:
  """The questions of a file.

  Attributes:
    file: in HotpotQA's format, or lines of such records.
    count: at most so many, the file's first.
    articles: a folder of Documents to search besides each question's own.
    licence: of questions and articles.
  """

  file: str
  count: int = 100
  articles: str | None = None
  licence: str = 'CC-BY-SA-4.0'

  def identity(self) -> Mapping[str, Any]:
    """What the tasks depend on."""
    return {
      'questions': artefacts.file_fingerprint(self._path),
      'count': self.count,
      'articles': (
        self.articles and lines.fingerprint(pathlib.Path(self.articles))
      ),
    }

  def tasks(self) -> Iterator[environment.Task]:
    """A task per record: 'hotpot_dev-12', or what is wrong with it."""
    for name, found in self._records.items():
      flaw = found if isinstance(found, str) else ''
      yield environment.Task(name, flaw)

  def open(self, name: str) -> 'Search':
    """The environment of a question."""
    found = self._records[name]
    if isinstance(found, str):
      raise ValueError(f'{name} is no task: {found}.')
    return Search(found, self._articles)

  @property
  def _path(self) -> pathlib.Path:
    path = pathlib.Path(self.file)
    if not path.is_file():
      raise errors.UserError(
        f'There is no file {self.file} of questions. Name one in the format of '
        'HotpotQA: a JSON list of {"question": ..., "answer": ...}.'
      )
    return path

  @functools.cached_property
  def _records(self) -> dict[str, Question | str]:
    stem = re.sub(r'[^\w-]+', '_', self._path.stem)
    found: dict[str, Question | str] = {}
    with self._path.open('rb') as stream:
      outcomes = records.read(stream, self.file, 'items', records.Limits())
      for outcome in itertools.islice(outcomes, self.count):
        name = f'{stem}-{outcome.index}'
        if isinstance(outcome, records.Flaw):
          found[name] = outcome.reason
          continue
        try:
          found[name] = parse(outcome.value)
        except entry.MalformedError as error:
          found[name] = error.reason
    return found

  @functools.cached_property
  def _articles(self) -> shelf.Articles | None:
    return (
      shelf.Articles(pathlib.Path(self.articles)) if self.articles else None
    )


class Search:
  """A question as an `environment.Environment`."""

  def __init__(
    self, question: Question, articles: shelf.Articles | None
  ) -> None:
    self.instructions = INSTRUCTIONS
    self.task = question.text
    self._question = question
    self._articles = articles
    self._own = {shelf.key(title): title for title in question.context}
    self.reset()

  def reset(self) -> str:
    """Begins anew."""
    self._title = ''
    self._sentences: tuple[str, ...] = ()
    self._words = ''
    self._next = 0  # the sentence that a repeated lookup goes on from
    self._seen: set[str] = set()
    return f'Question: {self._question.text}'

  def step(self, action: str) -> environment.Outcome:
    """Searches, looks up or finishes; the reward is for the right answer."""
    found = _ACTION.fullmatch(action)
    if not found:
      return environment.Outcome(
        f'"{action}" is no action. Write Search[title], Lookup[words] or '
        'Finish[answer].',
        0.0,
        False,
      )
    said = ' '.join(found[2].split())
    match found[1].lower():
      case 'search':
        return environment.Outcome(self._search(said), 0.0, False)
      case 'lookup':
        return environment.Outcome(self._lookup(said), 0.0, False)
    right = normalised(said) == normalised(self._question.answer)
    told = 'The answer is right.' if right else 'The answer is wrong.'
    return environment.Outcome(told, float(right), True)

  def admissible(self) -> tuple[str, ...]:
    """Searches for the question's own articles, or for titles like it."""
    titles = tuple(self._question.context) or self._nearest(self.task)
    return tuple(f'Search[{title}]' for title in titles)

  def solution(self) -> tuple[str, ...]:
    """Shows each supporting fact that was not seen yet, then answers.

    () where the record names no facts, or one that isn't there.
    """
    actions = []
    shown = self._title
    for title, number in self._question.facts:
      sentences = self._article(title)
      if sentences is None or number >= len(sentences):
        return ()
      if sentences[number] in self._seen:
        continue
      if number < SHOWN:
        actions.append(f'Search[{title}]')
      else:
        word = _telling(sentences, number)
        if not word:
          continue  # no lookup leads there; the beginning has to do
        if shown != title:
          actions.append(f'Search[{title}]')
        actions.append(f'Lookup[{word}]')
      shown = title
    if not self._question.facts:
      return ()
    actions.append(f'Finish[{self._question.answer}]')
    return tuple(dict.fromkeys(actions))

  def close(self) -> None:
    """Nothing is held."""

  def _article(self, title: str) -> tuple[str, ...] | None:
    own = self._own.get(shelf.key(title))
    if own is not None:
      return self._question.context[own]
    return self._articles.sentences(title) if self._articles else None

  def _nearest(self, title: str) -> tuple[str, ...]:
    more = self._articles.nearest(title) if self._articles else ()
    candidates = dict.fromkeys((*self._question.context, *more))
    return shelf.likest(title, tuple(candidates))

  def _search(self, title: str) -> str:
    sentences = self._article(title)
    if sentences is None:
      near = '; '.join(self._nearest(title))
      told = f' Titles like it: {near}.' if near else ''
      return f'There is no article "{title}".{told}'
    self._title = self._own.get(shelf.key(title), title)
    self._sentences, self._words, self._next = sentences, '', 0
    self._seen.update(sentences[:SHOWN])
    return ' '.join(sentences[:SHOWN]) or 'The article is empty.'

  def _lookup(self, words: str) -> str:
    if not self._title:
      return 'There is no article to look it up in. Search for one first.'
    if shelf.key(words) != self._words:
      self._words, self._next = shelf.key(words), 0
    hits = [
      number
      for number, sentence in enumerate(self._sentences)
      if self._words in sentence.lower()
    ]
    if self._next >= len(hits):
      return f'No more sentences of "{self._title}" hold "{words}".'
    sentence = self._sentences[hits[self._next]]
    self._next += 1
    self._seen.add(sentence)
    return f'({self._next} of {len(hits)}) {sentence}'


def normalised(answer: str) -> str:
  """An answer as SQuAD and HotpotQA compare it.

  >>> normalised('The  Holston-River.')
  'holstonriver'
  """
  kept = ''.join(c for c in answer.lower() if c not in string.punctuation)
  return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', kept).split())


def _telling(sentences: tuple[str, ...], number: int) -> str:
  """A word that only this sentence holds, '' where there is none."""
  others = ' '.join(s for s in sentences if s != sentences[number]).lower()
  for word in re.findall(r'\w{4,}', sentences[number]):
    if word.lower() not in others:
      return word
  return ''
