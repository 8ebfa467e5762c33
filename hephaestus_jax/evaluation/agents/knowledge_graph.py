"""AgentBench's KG: questions to a graph, by small steps from set to set.

The agent has seven functions, from the relations of an entity to the largest of
a set; what it finds is a variable, in truth a SPARQL pattern. The graph is
Freebase at the address of an endpoint, with AgentBench's files of tasks and
ontology, or a small one of our own (`our_graph`) in pyoxigraph.
"""

import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import requests

from hephaestus_jax import errors
from hephaestus_jax.evaluation.agents import episode, our_graph

NAMESPACE = 'http://rdf.freebase.com/ns/'
LONGEST = 60  # seconds for one query to an endpoint
MOST = 1_000_000  # values of one result; the answers have hundreds
ENTITY = re.compile(r'[a-z]\.\w+')

INSTRUCTIONS = """\
You answer questions from a knowledge base, with these functions. A variable \
is a set of entities that an earlier function found: #0 the first, #1 the \
second.

get_relations(x): the relations of an entity or variable.
get_neighbors(x, relation): the entities that the relation leads to, as a new \
variable. The relation must be one that get_relations(x) has shown.
intersection(a, b): what two variables of the same type have in common, as a \
new variable.
get_attributes(x): the attributes of a variable that have values, for argmax \
and argmin.
argmax(x, attribute): those of a variable with the largest value, as a new \
variable. The attribute must be one that get_attributes(x) has shown.
argmin(x, attribute): those with the smallest.
count(x): how many entities a variable has, as a new variable.

Take one action in each turn, written like this:

Thought: why
Action: get_relations(#0)

You see what it finds, and have 15 turns. When a variable is the answer to the \
question, name it like this:

Thought: why
Final Answer: #1"""
EXAMPLE = (
  INSTRUCTIONS,
  'I understand.',
  'Question: which metals are used in alloys that contain tin?\n'
  'Entities: [Tin]',
  'Thought: I look for what leads from tin to alloys.\n'
  'Action: get_relations(Tin)',
  'Observation: [chemistry.element.alloys, chemistry.element.symbol]',
  'Thought: The first leads to them.\n'
  'Action: get_neighbors(Tin, chemistry.element.alloys)',
  'Observation: variable #0, which are instances of chemistry.alloy',
  'Thought: Now to their metals.\nAction: get_relations(#0)',
  'Observation: [chemistry.alloy.metals]',
  'Thought: There they are.\nAction: get_neighbors(#0, chemistry.alloy.metals)',
  'Observation: variable #1, which are instances of chemistry.element',
  'Thought: Those are the metals.\nFinal Answer: #1',
)

Query = Callable[[str], list[str]]  # SPARQL for one ?value -> the values


@dataclasses.dataclass(frozen=True)
class Ontology:
  """What relations there are.

  Attributes:
    relations: those that lead to entities, with the type of these.
    attributes: those that lead to numbers or dates.
  """

  relations: Mapping[str, str]
  attributes: frozenset[str]


@dataclasses.dataclass(frozen=True)
class KnowledgeGraph:
  """The environment (extra `agents`: `pyoxigraph`, for our own graph).

  Attributes:
    file: AgentBench's dev.json or std.json; None: our own tasks.
    endpoint: the address of a SPARQL endpoint with Freebase; None: our graph.
    ontology: AgentBench's folder with vocab.json and fb_roles; None: that of
      our graph.
    prompt: see `episode.opening`.
    rounds: AgentBench's 15.
  """

  file: str | None = None
  endpoint: str | None = None
  ontology: str | None = None
  prompt: str | None = None
  rounds: int = 15
  name: str = 'kg'
  licence: str = 'Apache-2.0'

  def __post_init__(self) -> None:
    given = [self.file, self.endpoint, self.ontology]
    if any(given) and not all(given):
      raise errors.UserError(
        f'knowledge_graph.KnowledgeGraph: file = {self.file!r}, endpoint = '
        f'{self.endpoint!r} and ontology = {self.ontology!r} belong together: '
        'give all three for Freebase, or none for our own graph.'
      )

  def identity(self) -> dict[str, Any]:
    """What the scores depend on."""
    return {
      'data': episode.origin(self.file),
      'prompt': episode.origin(self.prompt),
      'endpoint': self.endpoint,
      'rounds': self.rounds,
    }

  def tasks(self) -> list[episode.Task]:
    """The tasks, named by their qid."""
    records = our_graph.TASKS
    if self.file is not None:
      records = episode.read_json(self.file)
    return [episode.Task(str(record['qid']), record) for record in records]

  @contextlib.contextmanager
  def open(self, task: episode.Task) -> Iterator[episode.Episode]:
    """A question; the graph is never changed.

    Raises:
      errors.UserError: the ontology can't be read, pyoxigraph isn't installed,
        or the endpoint doesn't answer.
    """
    if self.endpoint is None or self.ontology is None:
      query, ontology = _our_query(), our_ontology()
    else:
      query = functools.partial(ask_endpoint, self.endpoint)
      ontology = _published(self.ontology)
    yield _episode(task, _Tools(query, ontology), self.prompt)


@dataclasses.dataclass(frozen=True)
class Variable:
  """A set of entities or values.

  Attributes:
    kind: their type.
    pattern: what ?x must fulfil to be one of them, with names of its own for
      everything else.
    number: whether the answer is how many there are.
  """

  kind: str
  pattern: str
  number: bool = False

  def query(self) -> str:
    """SPARQL for its values."""
    what = 'DISTINCT (?x AS ?value)'
    if self.number:
      what = '(COUNT(DISTINCT ?x) AS ?value)'
    return f'SELECT {what} WHERE {{ {self.pattern} }}'


class _RefusedError(Exception):
  """A call that makes no sense; the agent is told so."""


@dataclasses.dataclass
class _Tools:
  """The seven functions; what `get_` functions have shown is remembered."""

  query: Query
  ontology: Ontology
  shown: dict[tuple[str, str], list[str]] = dataclasses.field(
    default_factory=dict
  )
  made: int = 0

  def call(
    self, name: str, arguments: Sequence['str | Variable']
  ) -> 'list[str] | Variable':
    """What a function finds: names, or a variable."""
    match name, arguments:
      case ('get_relations', [what]):
        return self._names(what, 'relations', self.ontology.relations)
      case ('get_attributes', [Variable() as what]):
        return self._names(what, 'attributes', self.ontology.attributes)
      case ('get_neighbors', [what, str(relation)]):
        self._check(what, 'relations', relation)
        here = self._fresh()
        pattern = f'{self._pattern(what, here)} {here} {_iri(relation)} ?x .'
        return Variable(self.ontology.relations[relation], pattern)
      case ('intersection', [Variable() as one, Variable() as other]):
        if one.kind != other.kind or one.number or other.number:
          raise _RefusedError
        return Variable(one.kind, f'{one.pattern} {other.pattern}')
      case ('argmax' | 'argmin', [Variable() as what, str(attribute)]):
        self._check(what, 'attributes', attribute)
        best, here, value = self._fresh(), self._fresh(), self._fresh()
        leads = _iri(attribute)
        return Variable(
          what.kind,
          f'{what.pattern} ?x {leads} {best} . '
          f'{{ SELECT ({name[3:].upper()}({value}) AS {best}) WHERE '
          f'{{ {self._pattern(what, here)} {here} {leads} {value} . }} }}',
        )
      case ('count', [Variable() as what]) if not what.number:
        return Variable('type.int', what.pattern, number=True)
    raise _RefusedError

  def _names(self, what: 'str | Variable', kind: str, known: Any) -> list[str]:
    here = self._fresh()
    found = self.query(
      'SELECT DISTINCT (?r AS ?value) WHERE '
      f'{{ {self._pattern(what, here)} {here} ?r ?anything . }}'
    )
    names = sorted(name for name in found if name in known)
    self.shown[kind, str(what)] = names
    return names

  def _check(self, what: 'str | Variable', kind: str, name: str) -> None:
    if name not in self.shown.get((kind, str(what)), []):
      raise _RefusedError

  def _pattern(self, what: 'str | Variable', here: str) -> str:
    """What `here` must fulfil to be an entity, or one of a variable's."""
    if isinstance(what, Variable):
      if what.number:
        raise _RefusedError
      # A query of its own, in which every name is new to those outside.
      return f'{{ SELECT DISTINCT (?x AS {here}) WHERE {{ {what.pattern} }} }}'
    if not ENTITY.fullmatch(what):
      raise _RefusedError
    return f'VALUES {here} {{ {_iri(what)} }}'

  def _fresh(self) -> str:
    self.made += 1
    return f'?v{self.made}'


def _iri(name: str) -> str:
  """A name in full: not every parser takes points in a prefixed one."""
  return f'<{NAMESPACE}{name}>'


def _episode(
  task: episode.Task, tools: _Tools, prompt: str | None
) -> episode.Episode:
  entities: Mapping[str, str] = task.record['entities']
  right = {str(one['answer_argument']) for one in task.record['answer']}
  script = list(task.record.get('actions', []))
  variables: list[Variable] = []
  found: set[str] = set()

  def act(reply: str, conversation: episode.Conversation) -> episode.Turn:
    nonlocal found
    said = reply.split('Observation:')[0].replace('\\_', '_')
    thought, call, answer = parse(said)
    if answer is not None:
      if answer < len(variables):
        found = set(tools.query(variables[answer].query())[:MOST])
        return episode.Turn(
          thought, answer=f'#{answer}', status=episode.COMPLETED
        )
      told = 'There is no such variable. Look at the action again.'
    elif call is None:
      told = 'No function is called. Look at the action again.'
    else:
      told = done(call)
    following = (*conversation, episode.agent(said), episode.user(told))
    return episode.Turn(thought, call or '', '', told, '', following)

  def done(call: str) -> str:
    name, words = split_call(call)
    try:
      result = tools.call(name, [meant(word) for word in words])
    except _RefusedError:
      return f"Observation: {call} can't be done. Look at its arguments again."
    if isinstance(result, list):
      return f'Observation: [{", ".join(result)}]'
    variables.append(result)
    which = f'variable #{len(variables) - 1}'
    if result.number:
      return f'Observation: {which}, which is a number'
    return f'Observation: {which}, which are instances of {result.kind}'

  def meant(word: str) -> str | Variable:
    word = re.sub('^variable ', '', word, flags=re.IGNORECASE)
    if re.fullmatch(r'#\d{1,4}', word):
      if int(word[1:]) >= len(variables):
        raise _RefusedError
      return variables[int(word[1:])]
    return entities.get(word, word)

  def score(status: str) -> float:
    return f1(found, right)

  def solution() -> str:
    if script:
      return f'Action: {script.pop(0)}'
    return f'Final Answer: #{len(variables) - 1}'

  question = (
    f'Question: {task.record["question"]}\nEntities: [{", ".join(entities)}]'
  )
  return episode.Episode(
    (*episode.opening(prompt, EXAMPLE), episode.user(f'A new one. {question}')),
    question,
    act,
    score,
    solution,
  )


_FINAL = re.compile(r'(?:Find|Final) Answer: #(\d{1,4})')
_CALL = re.compile(r'Action[^:\n]*:[^\n]*?(\w+\([^\n]*\))', re.MULTILINE)


def parse(reply: str) -> tuple[str, str | None, int | None]:
  r"""(thought, call, number of the variable that is the answer) of a reply.

  >>> parse('Thought: Up.\nAction: get_relations(#0)')
  ('Up.', 'get_relations(#0)', None)
  >>> parse('Final Answer: #3')
  ('', None, 3)
  """
  thought = re.search(r'Thought:\s*(.*)', reply)
  said = thought[1].strip() if thought else ''
  if answer := _FINAL.search(reply):
    return said, None, int(answer[1])
  call = _CALL.search(reply)
  return said, call[1] if call else None, None


def split_call(call: str) -> tuple[str, list[str]]:
  """A call's function and arguments; further calls in it are left out.

  >>> split_call('get_neighbors(#0, a.b.c)')
  ('get_neighbors', ['#0', 'a.b.c'])
  """
  name, _, rest = call.partition('(')
  return name, [word.strip() for word in rest.rstrip(')').split(',')]


def f1(found: set[str], right: set[str]) -> float:
  """The harmonic mean of precision and recall.

  >>> f1({'a', 'b'}, {'a'})
  0.6666666666666666
  """
  both = len(found & right)
  return 2 * both / (len(found) + len(right)) if both else 0.0


def our_ontology() -> Ontology:
  """That of `our_graph`."""
  return Ontology(our_graph.RELATIONS, frozenset(our_graph.ATTRIBUTES))


@functools.cache
def _our_query() -> Query:
  """Our graph in a store of this process.

  Raises:
    errors.UserError: pyoxigraph isn't installed.
  """
  try:
    import pyoxigraph
  except ImportError as error:
    raise errors.UserError(
      'pyoxigraph is not installed. Run `pip install -e .[agents]`, or give KG '
      'an endpoint with Freebase.'
    ) from error
  store = pyoxigraph.Store()

  def node(name: str) -> Any:
    return pyoxigraph.NamedNode(NAMESPACE + name)

  for subject, relation, value in our_graph.triples():
    number = isinstance(value, int)
    there = pyoxigraph.Literal(value) if number else node(str(value))
    store.add(pyoxigraph.Quad(node(subject), node(relation), there))

  def query(text: str) -> list[str]:
    rows: Any = store.query(text)
    return [plain(row['value'].value) for row in rows]

  return query


def ask_endpoint(address: str, text: str) -> list[str]:
  """The values that an endpoint has for a query, by the SPARQL protocol.

  Raises:
    errors.UserError: it doesn't answer, or not with results.
  """
  try:
    response = requests.post(
      address,
      data={'query': text},
      headers={'Accept': 'application/sparql-results+json'},
      timeout=LONGEST,
    )
    response.raise_for_status()
    rows = response.json()['results']['bindings']
    return [plain(str(row['value']['value'])) for row in rows]
  except (requests.RequestException, ValueError, KeyError, TypeError) as error:
    raise errors.UserError(
      f'{address} does not answer as a SPARQL endpoint does ({error}). Check '
      'knowledge_graph.KnowledgeGraph.endpoint, or leave KG out.'
    ) from error


def plain(value: str) -> str:
  """A value as AgentBench's answers have it.

  >>> plain('http://rdf.freebase.com/ns/m.0d060g'), plain('1999-08:00')
  ('m.0d060g', '1999')
  """
  return value.replace(NAMESPACE, '').replace('-08:00', '')


@functools.cache
def _published(folder: str) -> Ontology:
  """AgentBench's ontology: vocab.json, and `domain relation range` lines."""
  vocabulary = episode.read_json(f'{folder}/vocab.json')
  ranges = {}
  try:
    for line in pathlib.Path(folder, 'fb_roles').read_text().splitlines():
      _, relation, kind = line.split()
      ranges[relation] = kind
    known = {
      name: ranges[name] for name in vocabulary['relations'] if name in ranges
    }
    return Ontology(known, frozenset(vocabulary['attributes']))
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.UserError(
      f"{folder} isn't AgentBench's ontology ({error}): it needs vocab.json "
      'and fb_roles as they were published.'
    ) from error
