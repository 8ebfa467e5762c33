"""Function calls on BFCL's questions, judged by BFCL's own code.

    bfcl-eval (pip, into a folder of its own)
      |  bfcl_official.read_entries, in the sandbox
    entries: questions and function documents
      |  bfcl_answers, chat.generation_prompt, the engine or an endpoint;
      |  of several turns bfcl_multi_turn, and again
    answers -> bfcl_results: BFCL's result files, which grow as they come
      |  bfcl_official.check, in the sandbox
    verdicts -> bfcl_scores: accuracy per category, columns

What a model wrote is data on the whole road; whatever is wrong with it ends as
a counted reason. The benchmark is never part of the corpus.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import tqdm

from hephaestus_jax import (
  artefacts,
  chat,
  errors,
  language_model,
  model,
  tokenizer,
)
from hephaestus_jax.decode import generate, prompts
from hephaestus_jax.evaluation import (
  bfcl_answers,
  bfcl_multi_turn,
  bfcl_official,
  bfcl_results,
  bfcl_scores,
  package_folder,
)
from hephaestus_jax.evaluation.bfcl_answers import Answer

NOWHERE = language_model.Endpoint(None)


@dataclasses.dataclass(frozen=True)
class Bfcl:
  """The benchmark, ready to measure a model.

  Attributes:
    tokenizer: path of the vocabulary, see `tokenizer.load`.
    endpoint: where the model is served; without a base_url the checkpoint is
      asked in this process.
    folder: where bfcl-eval is, or where pip puts it the first time.
    requirements: the pinned file that pip installs.
    answers: where BFCL's result files grow, for a run that is cut short to go
      on from; None: nowhere.
    categories: some of bfcl_scores.CATEGORIES; None: those of one turn.
    per_category: how many entries of each, chosen by the hash of their id;
      None: all.
    asking: 'tools' or 'prompting', see `bfcl_answers`; None: tools where the
      chat format's models know them, and prompting where a model is served.
    max_new_tokens: length limit of an answer.
    max_prompt_tokens: entries with a longer prompt count as wrong.
    batch_size: prompts at once.
    isolation: see `sandbox.run`.
    chat_format: how the model reads and writes conversations: chat.FORMATS.
    name: what the results are called.
  """

  tokenizer: str
  endpoint: language_model.Endpoint = NOWHERE
  folder: str = 'downloads/bfcl'
  requirements: str = 'requirements/bfcl.txt'
  answers: str | None = None
  categories: Sequence[str] | None = None
  per_category: int | None = None
  asking: str | None = None
  max_new_tokens: int = 256
  max_prompt_tokens: int = 4096
  batch_size: int = 16
  isolation: str = 'auto'
  chat_format: str = 'chatml'
  name: str = 'bfcl'

  def __post_init__(self) -> None:
    chat.of_name(self.chat_format)
    bfcl_answers.way_of_asking(self.asking, self.chat_format, self._served)
    for category in self._categories:
      if category not in bfcl_scores.CATEGORIES:
        raise errors.UserError(
          f'bfcl.Bfcl.categories names {category!r}; there are '
          f'{", ".join(bfcl_scores.CATEGORIES)}.'
        )
    if self.per_category is not None and self.per_category < 1:
      raise errors.UserError(
        f'bfcl.Bfcl.per_category = {self.per_category} is below 1.'
      )

  @property
  def _categories(self) -> Sequence[str]:
    if self.categories is None:
      return tuple(bfcl_scores.SINGLE_TURN)
    return self.categories

  @property
  def _served(self) -> bool:
    return self.endpoint.base_url is not None

  def identity(self) -> dict[str, Any]:
    """What the result depends on besides the model.

    'tokenizer' is None where no checkpoint is read.
    """
    return {
      **self._of_answers(),
      'categories': list(self._categories),
      'per_category': self.per_category,
    }

  def _of_answers(self) -> dict[str, Any]:
    """What an answer depends on besides the model and its question."""
    asking = bfcl_answers.way_of_asking(
      self.asking, self.chat_format, self._served
    )
    served = self._served
    return {
      'bfcl': package_folder.fingerprint(self.requirements),
      'asking': asking,
      'max_new_tokens': self.max_new_tokens,
      'max_prompt_tokens': self.max_prompt_tokens,
      'chat_format': None if served else self.chat_format,
      'endpoint': self.endpoint.identity() if served else None,
      'tokenizer': (
        None if served else tokenizer.load(self.tokenizer).fingerprint
      ),
    }

  def __call__(
    self, config: model.Config, params: dict[str, Any]
  ) -> dict[str, Any]:
    """Asks a model all questions.

    Returns:
      {'categories': see `bfcl_scores.count`, 'summary': see
      `bfcl_scores.summarise`, 'asking', 'completions': [{'id', 'category',
      'completion', 'finish', 'result', 'valid', 'reason', 'message'}]}. Of
      several turns the completion is a list of lists, by turns and steps.

    Raises:
      errors.UserError: the vocabulary doesn't fit the model, pip can't install
        bfcl-eval, the machine can't isolate it, or `answers` holds those of
        another model; or as `Client.ask` says.
    """
    of_answers = self._of_answers()
    asking = of_answers['asking']
    folder = package_folder.install(self.requirements, self.folder)
    entries = subset(
      bfcl_official.read_entries(
        folder, self._categories, self.isolation, asking
      ),
      self.per_category,
    )
    files = None
    if self.answers is not None:
      of_answers['model'] = None if self._served else fingerprint(params)
      files = bfcl_results.ResultFiles(
        pathlib.Path(self.answers), of_answers, asking
      )
    with contextlib.ExitStack() as stack:
      if self._served:
        speaker = served(
          stack.enter_context(language_model.Client(self.endpoint))
        )
      else:
        speaker = self._checkpoint(config, params)
      said = self._said(folder, entries, speaker, files)
    records = judge(folder, entries, said, self.isolation, self.chat_format)
    categories = bfcl_scores.count(records)
    return {
      'categories': categories,
      'summary': bfcl_scores.summarise(categories),
      'asking': asking,
      'completions': records,
    }

  def _checkpoint(
    self, config: model.Config, params: dict[str, Any]
  ) -> bfcl_multi_turn.Speaker:
    """The checkpoint, greedy."""
    vocabulary = tokenizer.load(self.tokenizer)
    if vocabulary.vocab_size > config.vocab_size:
      raise errors.UserError(
        f'{self.tokenizer} has {vocabulary.vocab_size} tokens, and '
        f'model.Config.vocab_size = {config.vocab_size}. Use the vocabulary '
        'that the model was trained with.'
      )
    stop_ids, stop = prompts.stops(vocabulary, self.chat_format)

    def speak(
      conversations: Sequence[bfcl_multi_turn.Conversation],
      waiting: Sequence[int],
      heard: Callable[[int, Answer], None],
    ) -> None:
      reasons = [unfit(one, self.chat_format) for one in conversations]
      for i in waiting:
        if reasons[i]:
          heard(i, Answer('', f'{bfcl_answers.UNFIT}:{reasons[i]}'))
      fit = [i for i, reason in enumerate(reasons) if not reason]
      given = prompts.tokens(
        vocabulary, [conversations[i] for i in fit], self.chat_format
      )

      def complete(place: int, completion: generate.Completion) -> None:
        answer = Answer(
          completion.text,
          completion.finish,
          len(given[place]),
          len(completion.tokens),
        )
        heard(fit[place], answer)

      generate.generate(
        config,
        params,
        given,
        only=[place for place, i in enumerate(fit) if i in set(waiting)],
        heard=complete,
        max_new_tokens=self.max_new_tokens,
        stop_ids=stop_ids,
        stop=stop,
        batch_size=self.batch_size,
        max_prompt_tokens=self.max_prompt_tokens,
        vocabulary=vocabulary,
        description=self.name,
      )

    return speak

  def _said(
    self,
    folder: pathlib.Path,
    entries: Sequence[Mapping[str, Any]],
    speaker: bfcl_multi_turn.Speaker,
    files: bfcl_results.ResultFiles | None,
  ) -> list[bfcl_answers.Said]:
    """What was answered to each entry, now or in a run before."""
    said: dict[str, bfcl_answers.Said] = {}
    if files is not None:
      for category in dict.fromkeys(entry['category'] for entry in entries):
        said |= files.read(category)

    def keep(entry: Mapping[str, Any], new: bfcl_answers.Said) -> None:
      said[entry['id']] = new
      # What a server failed to answer is asked again by the next run.
      if files is not None and new.lasting:
        files.append(entry, new)

    turns = bfcl_scores.MULTI_TURN
    single = [entry for entry in entries if entry['category'] not in turns]
    several = [entry for entry in entries if entry['category'] in turns]

    def heard(i: int, answer: Answer) -> None:
      entry = single[i]
      result, _ = bfcl_answers.read(
        answer, entry['category'], entry['asking'], self.chat_format
      )
      keep(entry, bfcl_answers.Said(result, ((answer,),)))

    waiting = [i for i, one in enumerate(single) if one['id'] not in said]
    if waiting:
      conversations = [bfcl_answers.opening(entry) for entry in single]
      speaker(conversations, waiting, heard)
    left = [entry for entry in several if entry['id'] not in said]
    with tqdm.tqdm(
      total=len(several),
      initial=len(several) - len(left),
      desc='episodes',
      disable=not several,
    ) as bar:

      def ended(episode: bfcl_multi_turn.Episode) -> None:
        turns = tuple(map(tuple, episode.answers))
        keep(episode.entry, bfcl_answers.Said(episode.result, turns))
        bar.update(1)

      bfcl_multi_turn.play(
        folder,
        left,
        speaker,
        chat_format=self.chat_format,
        abreast=self.batch_size,
        isolation=self.isolation,
        ended=ended,
      )
    return [said[entry['id']] for entry in entries]


def served(client: language_model.Client) -> bfcl_multi_turn.Speaker:
  """The model that an endpoint serves."""
  roles = {'system': 'system', 'user': 'user', 'answer': 'assistant'}

  def speak(
    conversations: Sequence[bfcl_multi_turn.Conversation],
    waiting: Sequence[int],
    heard: Callable[[int, Answer], None],
  ) -> None:
    questions = (
      (
        i,
        language_model.Question(
          tuple(
            {'role': roles[segment.role], 'content': segment.text}
            for segment in conversations[i]
          )
        ),
      )
      for i in waiting
    )
    for i, reply in client.ask_all(questions):
      if reply is not None:
        answer = Answer(
          reply.text,
          reply.failure or ('length' if reply.finish == 'length' else 'stop'),
          reply.prompt_tokens,
          reply.completion_tokens,
        )
        heard(i, answer)

  return speak


def unfit(conversation: bfcl_multi_turn.Conversation, chat_format: str) -> str:
  """Why a format has no words for a conversation; '' where it has."""
  try:
    chat.generation_prompt(conversation, chat_format)
  except chat.UnfitError as error:
    return error.reason
  return ''


def fingerprint(params: Mapping[str, Any]) -> str:
  """Sixteen hex digits of all parameters' bits, however they are placed."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return artefacts.fingerprint(
    {jax.tree_util.keystr(path): int(_checksum(leaf)) for path, leaf in leaves}
  )


@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
  """A sum of the bits, each at its place, that no order of adding changes."""
  kind = {2: jnp.uint16, 4: jnp.uint32}[array.dtype.itemsize]
  bits = jax.lax.bitcast_convert_type(array, kind).astype(jnp.uint32).ravel()
  places = jax.lax.iota(jnp.uint32, bits.size)
  return jnp.sum(bits * (2 * places + 1), dtype=jnp.uint32)


def subset(
  entries: Sequence[dict[str, Any]], per_category: int | None
) -> list[dict[str, Any]]:
  """The same few entries on every machine: those whose ids hash lowest."""

  def rank(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(entry['id'].encode()).hexdigest()

  chosen: list[dict[str, Any]] = []
  for category in dict.fromkeys(entry['category'] for entry in entries):
    ours = [entry for entry in entries if entry['category'] == category]
    kept = {rank(entry) for entry in sorted(ours, key=rank)[:per_category]}
    chosen += [entry for entry in ours if rank(entry) in kept]
  return chosen


def judge(
  folder: pathlib.Path,
  entries: Sequence[Mapping[str, Any]],
  said: Sequence[bfcl_answers.Said],
  isolation: str,
  chat_format: str = 'chatml',
) -> list[dict[str, Any]]:
  """The official verdict on what was said to each entry.

  Returns:
    See `Bfcl.__call__`; 'reason' and 'message' are '' for a right answer.
    Where we know more than the official error type, the reason is ours.
  """
  requests = [
    {
      **{key: entry[key] for key in ('id', 'category', 'asking')},
      'result': one.result,
    }
    for entry, one in zip(entries, said, strict=True)
  ]
  verdicts = bfcl_official.check(folder, requests, isolation)
  records = []
  for entry, one, verdict in zip(entries, said, verdicts, strict=True):
    texts = [[answer.text for answer in turn] for turn in one.answers]
    several = entry['category'] in bfcl_scores.MULTI_TURN
    last = one.answers[-1][-1]
    reason = verdict['reason']
    if not verdict['valid']:
      reason = why(entry, one, chat_format) or reason
    records.append(
      {
        'id': entry['id'],
        'category': entry['category'],
        'completion': texts if several else texts[0][0],
        'finish': last.finish,
        'result': one.result,
        'valid': verdict['valid'],
        'reason': reason,
        'message': verdict['message'],
      }
    )
  return records


def why(
  entry: Mapping[str, Any], said: bfcl_answers.Said, chat_format: str
) -> str:
  """What is wrong with an answer, where the official checker can't know."""
  if entry['category'] in bfcl_scores.MULTI_TURN:
    return said.result if isinstance(said.result, str) else ''
  (answer,) = said.answers[0]
  _, reason = bfcl_answers.read(
    answer, entry['category'], entry['asking'], chat_format
  )
  return reason
