"""The benchmark losses of the real SmolLM2-135M-Instruct, as torch has them.

Too large for the suite. Needs the extra `reference`, what
`tests/smollm2_greedy.py` left in RUN_DIR, and the benchmarks' published files,
a folder each as `gin/stages/reference_losses.gin` has them:

    python tests/smollm2_losses.py runs/smollm2 benchmarks

Of each benchmark that is there, the loss of some questions by
`reference_loss.ReferenceLoss` and by `transformers` reading the export must be
the same to 1e-3, per token and per character. There each question is tokenised
by the exported vocabulary and measured alone, without padding, in float32.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
import time

os.environ['HF_HUB_OFFLINE'] = '1'

import torch
import transformers

from hephaestus_jax import checkpoints, model, partitioning
from hephaestus_jax.convert import convert
from hephaestus_jax.evaluation import reference_loss, references


def by_transformers(
  network: transformers.PreTrainedModel,
  tokens: transformers.PreTrainedTokenizerBase,
  asked: list[references.Reference],
  max_length: int,
) -> dict[str, float]:
  nll, count = 0.0, 0
  for each in asked:
    prompt = tokens(each.prompt, add_special_tokens=False).input_ids
    answer = tokens(each.answer, add_special_tokens=False).input_ids
    whole = [tokens.bos_token_id, *prompt, *answer][-max_length:]
    with torch.no_grad():
      logits = network(torch.tensor([whole])).logits[0]
    logprobs = torch.log_softmax(logits[-len(answer) - 1 : -1], dim=-1)
    picked = logprobs.gather(1, torch.tensor(answer)[:, None])
    nll -= float(picked.sum())
    count += len(answer)
  characters = sum(len(each.answer) for each in asked)
  return {'nll_per_token': nll / count, 'nll_per_character': nll / characters}


def run() -> bool:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('run_dir', type=pathlib.Path)
  parser.add_argument('benchmarks', type=pathlib.Path)
  parser.add_argument('--records', type=int, default=16)
  parser.add_argument('--max_length', type=int, default=1024)
  options = parser.parse_args()
  base = options.run_dir / 'base'
  exported = options.run_dir / 'forge' / 'hugging_face'
  config = dataclasses.replace(convert.trained_config(base), dtype='float32')
  params = checkpoints.restore_parameters(
    base, model.placed(config, partitioning.make_mesh())
  )
  tokens = transformers.AutoTokenizer.from_pretrained(exported)
  network = transformers.AutoModelForCausalLM.from_pretrained(
    exported, dtype=torch.float32
  )
  fine, examples = True, 0
  for name, (folder, _) in references.READERS.items():
    path = options.benchmarks / folder
    if not path.exists():
      print(f'{name}: no {path}')
      continue
    measure = reference_loss.ReferenceLoss(
      name=name,
      path=str(path),
      tokenizer=str(base / convert.published.FOLDER / 'tokenizer.json'),
      max_records=options.records,
      max_length=options.max_length,
    )
    start = time.time()
    ours = measure(config, params)
    middle = time.time()
    found = references.read(str(path), name)
    count = ours['examples']
    chosen = [found[i * len(found) // count] for i in range(count)]
    theirs = by_transformers(network, tokens, chosen, options.max_length)
    print(
      f'{name}: {count} questions, {ours["cut"]} cut, {middle - start:.1f} s '
      f'here, {time.time() - middle:.1f} s there'
    )
    for unit, wanted in theirs.items():
      apart = abs(ours[unit] - wanted)
      fine &= apart < 1e-3
      print(f'  {unit}: {ours[unit]:.6f} here, {wanted:.6f} there')
    examples += count
  print(f'{examples} questions: {"equal" if fine else "NOT equal"} to 1e-3')
  return fine and examples >= 50


if __name__ == '__main__':
  sys.exit(not run())
