"""Vocabularies: nothing is lost, and no page writes a control token."""

import functools
import json
import pathlib
import tempfile

import hypothesis
import pytest
import tokenizers
from hypothesis import strategies

from hephaestus_jax import chat, errors, tokenizer
from hephaestus_jax.chat import Span
from hephaestus_jax.corpus import document
from hephaestus_jax.decode import prompts

SIZE = 440
SENTENCES = [
  f'def call_{i}(bucket, key={i}):\n    return client.get(bucket, key)\n\n'
  f'Lists the {word} of account {i * 37}.\tSee also {word}.'
  for i in range(60)
  for word in ('buckets', 'instances', 'queues', 'größen', 'rôles')
]


@functools.cache
def trained():
  path = pathlib.Path(tempfile.mkdtemp()) / 'a.model'
  tokenizer.train(iter(SENTENCES), path, SIZE)
  return path


@functools.cache
def ours():
  return tokenizer.load(str(trained()))


@functools.cache
def hugging_face():
  """A byte-level BPE with ChatML's markers, as SmolLM2's is."""
  model = tokenizers.Tokenizer(tokenizers.models.BPE())
  model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=False
  )
  model.decoder = tokenizers.decoders.ByteLevel()
  model.train_from_iterator(
    SENTENCES,
    tokenizers.trainers.BpeTrainer(
      vocab_size=512,
      special_tokens=['<|endoftext|>', *chat.SPECIAL_TOKENS],
      initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
    ),
  )
  path = trained().with_name('tokenizer.json')
  model.save(str(path))
  return tokenizer.load(str(path))


@functools.cache
def mistral():
  return tokenizer.load('mistral-common:v3')


VOCABULARIES = [ours, hugging_face, mistral]
# SentencePiece writes a space as U+2581 and can't tell the two apart.
texts = strategies.text(
  strategies.one_of(
    strategies.characters(exclude_characters='▁', codec='utf-8'),
    strategies.sampled_from('<|im_end> \t\n'),
  )
) | strategies.sampled_from(['<|im_end|>', ' a', '\n', '<tool_call>x', 'ä\x00'])


@pytest.mark.parametrize('vocabulary', VOCABULARIES)
@hypothesis.settings(deadline=None)
@hypothesis.given(words=texts)
def test_decoding_gives_the_text_back(vocabulary, words):
  ids = vocabulary().encode(words)
  assert vocabulary().decode(ids) == words
  assert all(0 <= i < vocabulary().vocab_size for i in ids)


@pytest.mark.parametrize('vocabulary', [ours, hugging_face])
@hypothesis.settings(deadline=None)
@hypothesis.given(
  words=texts, token=strategies.sampled_from(chat.SPECIAL_TOKENS)
)
def test_a_quoted_special_token_is_no_control_token(vocabulary, words, token):
  control = {vocabulary().token_id(t) for t in chat.SPECIAL_TOKENS}
  assert None not in control
  assert not control & set(vocabulary().encode(words + token + words))


@pytest.mark.parametrize('vocabulary', [ours, hugging_face])
def test_a_marker_is_one_control_token(vocabulary):
  for token in chat.SPECIAL_TOKENS:
    assert vocabulary().encode_markers(token) == [vocabulary().token_id(token)]


def test_mistrals_control_tokens_are_markers_and_never_content():
  calls, end = mistral().token_id('[TOOL_CALLS]'), mistral().eos_id
  assert mistral().encode_markers('[TOOL_CALLS]</s>') == [calls, end]
  spelt = mistral().encode('[TOOL_CALLS]</s>')
  assert not {calls, end} & set(spelt)
  assert mistral().decode(spelt) == '[TOOL_CALLS]</s>'
  # What is read back holds the mark of a call, and not the document's end.
  assert mistral().decode([calls, *mistral().encode(' []'), end]) == (
    '[TOOL_CALLS] []'
  )


@pytest.mark.parametrize('vocabulary', VOCABULARIES)
def test_encode_spells_out_as_the_docstring_says(vocabulary):
  encode = vocabulary().encode
  assert encode('a <|im_end|>') == encode('a <') + encode('|im_end|>') or (
    vocabulary is mistral  # has no such token: nothing to spell out
  )


def test_spans_are_encoded_by_their_origin():
  spans = (
    Span('user', 'Hi<|im_end|>'),
    Span('user', '<|im_end|>', marker=True),
  )
  ids = ours().encode_spans([spans, ()])
  assert ids == [
    [ours().encode('Hi<|im_end|>'), [ours().token_id('<|im_end|>')]],
    [],
  ]


@pytest.mark.parametrize('vocabulary', VOCABULARIES)
def test_a_batch_has_the_ids_of_its_texts(vocabulary):
  given = [*SENTENCES[:5], '', 'x <tool_call> y <|im_end|>', '\n']
  assert vocabulary().encode_batch(given) == [
    vocabulary().encode(text) for text in given
  ]


def test_special_ids_are_where_they_were_asked_to_be():
  assert (ours().pad_id, ours().bos_id, ours().eos_id) == (0, 2, 3)
  assert ours().vocab_size == SIZE
  assert ours().token_id('no such piece') is None


def test_training_twice_gives_the_same_bytes(tmp_path):
  tokenizer.train(iter(SENTENCES), tmp_path / 'b.model', SIZE)
  assert (tmp_path / 'b.model').read_bytes() == trained().read_bytes()


def test_digits_stand_alone_and_indentation_may_be_one_token():
  assert len(ours().encode('2026')) == 4
  assert len(ours().encode('    return')) < 4 + len('return')


def test_mistrals_vocabulary_comes_from_the_installed_package():
  assert mistral().vocab_size == 32768
  assert (mistral().bos_id, mistral().eos_id) == (1, 2)
  # Spans are joined: no space may come before each of them.
  assert mistral().decode(mistral().encode('a') + mistral().encode('b')) == 'ab'


def test_a_tokenizer_json_takes_its_ends_from_the_file_beside_it(tmp_path):
  hugging_face()
  source = trained().with_name('tokenizer.json')
  (tmp_path / 'tokenizer.json').write_bytes(source.read_bytes())
  plain = tokenizer.load(str(tmp_path / 'tokenizer.json'))
  assert plain.eos_id == plain.bos_id == plain.token_id('<|endoftext|>')
  (tmp_path / 'tokenizer_config.json').write_text(
    json.dumps({'bos_token': None, 'eos_token': {'content': '<|im_end|>'}})
  )
  configured = tokenizer.load(str(tmp_path / 'tokenizer.json'))
  assert configured.eos_id == configured.token_id('<|im_end|>')
  assert configured.fingerprint != plain.fingerprint


def test_a_bos_that_opens_turns_is_written_once_as_smollm2_does(tmp_path):
  hugging_face()
  source = trained().with_name('tokenizer.json')
  (tmp_path / 'tokenizer.json').write_bytes(source.read_bytes())
  (tmp_path / 'tokenizer_config.json').write_text(
    json.dumps({'bos_token': '<|im_start|>', 'eos_token': '<|im_end|>'})
  )
  smollm2 = tokenizer.load(str(tmp_path / 'tokenizer.json'))
  assert smollm2.bos_id is None
  asked = [
    document.Segment('system', 'Be brief.'),
    document.Segment('user', 'Hi'),
  ]
  [prompt] = prompts.tokens(smollm2, [asked], 'smollm2')
  assert prompt == smollm2.encode_markers(
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n'
    '<|im_start|>assistant\n'
  )


def test_the_fingerprint_tells_vocabularies_apart(tmp_path):
  tokenizer.train(iter(SENTENCES), tmp_path / 'c.model', SIZE - 10)
  other = tokenizer.load(str(tmp_path / 'c.model'))
  assert len({other.fingerprint, ours().fingerprint}) == 2
  assert len(ours().fingerprint) == 16


@pytest.mark.parametrize(
  ('path', 'content', 'message'),
  [
    ('nothing.model', None, 'no tokenizer at'),
    ('damaged.model', b'\x00\x01garbage', 'no SentencePiece model'),
    ('damaged.json', b'{"version": ', 'no tokenizer.json'),
    ('vocab.txt', b'a\nb', 'of no known kind'),
  ],
)
def test_what_is_no_tokenizer_is_said_so(tmp_path, path, content, message):
  if content is not None:
    (tmp_path / path).write_bytes(content)
  with pytest.raises(errors.UserError, match=message):
    tokenizer.load(str(tmp_path / path))


def test_an_unknown_mistral_version_lists_those_there_are():
  with pytest.raises(errors.UserError, match="'v3'"):
    tokenizer.load('mistral-common:v99')


def test_too_little_text_for_the_vocabulary_is_said_so(tmp_path):
  with pytest.raises(errors.UserError, match='100000'):
    tokenizer.train(iter(['a b c']), tmp_path / 'd.model', 100000)
