"""What the paper mixes with its seed (section 4, appendix A.1), and retrieves.

Instruction sets of stage III, general text, code, and the web corpora that
agent data is retrieved from.
"""

from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.adapters import (
  dialog,
  pages,
  plain,
  question_answer,
  react,
  text_games,
)

SOURCES: tuple[source.DataSet, ...] = (
  source.DataSet(
    name='sharegpt',
    title='ShareGPT',
    kind='instruction',
    format='Dialog',
    licence='NOASSERTION',
    location=source.Location(
      huggingface='anon8231489123/ShareGPT_Vicuna_unfiltered',
    ),
    verified=True,
    files=(source.Files('*.json', dialog.chat),),
  ),
  source.DataSet(
    name='toolace',
    title='ToolACE',
    kind='instruction',
    format='Dialog',
    licence='Apache-2.0',
    location=source.Location(huggingface='Team-ACE/ToolACE'),
    verified=True,
    files=(
      # Tried on a conversion of its rows; data.json is as documented.
      source.Files('*.json', dialog.chat),
    ),
  ),
  source.DataSet(
    name='agentflan_instructions',
    title='AgentFLAN (stage III)',
    kind='instruction',
    format='Dialog',
    licence='Apache-2.0',
    location=source.Location(huggingface='internlm/Agent-FLAN'),
    files=(source.Files('*.jsonl', react.episode),),
  ),
  source.DataSet(
    name='redpajama_v2',
    title='RedPajama-v2',
    kind='text',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(huggingface='togethercomputer/RedPajama-Data-V2'),
    files=(
      # Lines of JSON; quality_signals/ hold no text.
      source.Files('documents/**/*.json', plain.text),
      source.Files('*.{jsonl,parquet}', plain.text),
    ),
  ),
  source.DataSet(
    name='wikipedia_en',
    title='Wikipedia',
    kind='text',
    format='Plain Text',
    licence='CC-BY-SA-4.0',
    location=source.Location(huggingface='wikimedia/wikipedia'),
    verified=True,
    files=(source.Files('*.{parquet,jsonl,txt}', plain.text, address='url'),),
  ),
  source.DataSet(
    name='wikiqa',
    title='WikiQA',
    kind='text',
    format='QA',
    licence='LicenseRef-MSR-WikiQA',
    location=source.Location(huggingface='microsoft/wiki_qa'),
    verified=True,
    files=(
      source.Files('*-train.tsv', question_answer.wiki_qa),
      source.Files('*.tsv', question_answer.wiki_qa, split=source.HELDOUT),
      source.Files('train*.parquet', question_answer.wiki_qa),
      source.Files('*.parquet', question_answer.wiki_qa, split=source.HELDOUT),
    ),
  ),
  source.DataSet(
    name='openstax',
    title='OpenStax',
    kind='text',
    format='Plain Text',
    licence='CC-BY-4.0',
    location=source.Location(),
    page='https://github.com/openstax',
    verified=True,
    files=(
      source.Files('*.cnxml', pages.cnxml),
      source.Files('*.{txt,jsonl}', plain.text),
    ),
  ),
  source.DataSet(
    name='openwebmath',
    title='OpenWebMath',
    kind='text',
    format='Plain Text',
    licence='ODC-By-1.0',
    location=source.Location(huggingface='open-web-math/open-web-math'),
    files=(source.Files('*.{parquet,jsonl}', plain.text, address='url'),),
  ),
  source.DataSet(
    name='arxiv',
    title='arXiv',
    kind='text',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://arxiv.org',
    verified=True,
    files=(source.Files('*.jsonl', plain.text),),
  ),
  source.DataSet(
    name='starcoder2',
    title='StarCoder-v2',
    kind='code',
    format='Code',
    licence='NOASSERTION',
    location=source.Location(huggingface='bigcode/the-stack-v2-train-full-ids'),
    verified=True,
    files=(source.Files('*.{parquet,jsonl}', plain.stack),),
  ),
  source.DataSet(
    name='fineweb',
    title='FineWeb',
    kind='text',
    format='Plain Text',
    licence='ODC-By-1.0',
    location=source.Location(huggingface='HuggingFaceFW/fineweb'),
    files=(source.Files('*.{parquet,jsonl}', plain.text, address='url'),),
  ),
  source.DataSet(
    name='commoncrawl_wet',
    title='CommonCrawl (WET)',
    kind='text',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://commoncrawl.org',
    files=(source.Files('*.wet', pages.extracted, address='url'),),
  ),
  source.DataSet(
    name='commoncrawl_warc',
    title='CommonCrawl (WARC)',
    kind='text',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(),
    page='https://commoncrawl.org',
    files=(source.Files('*.warc', pages.crawled, address='url'),),
  ),
  # Simulated agents: what their frameworks publish of their own episodes.
  source.DataSet(
    name='sim_react',
    title='ReAct on HotpotQA, FEVER and ALFWorld',
    kind='trajectory',
    format='ReAct',
    licence='MIT',
    location=source.Location(github='ysymyth/ReAct'),
    verified=True,
    files=(
      source.Files('alfworld*.json', text_games.episode, unit='values'),
      source.Files('prompts_naive.json', react.prompt_text, unit='values'),
      source.Files('fever.json', react.prompt_text, unit='values'),
      source.Files('hotpot_train*.json', question_answer.hotpot_qa),
      source.Files(
        'hotpot_*.json', question_answer.hotpot_qa, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='sim_reflexion',
    title='Reflexion on HotpotQA and ALFWorld',
    kind='trajectory',
    format='ReAct',
    licence='MIT',
    location=source.Location(github='noahshinn/reflexion'),
    verified=True,
    files=(
      source.Files('hotpotqa_runs/**/*.txt', react.log_file),
      source.Files('trial_*.log', text_games.log_file),
      source.Files('*env_results_trial_*.json', text_games.reflections),
    ),
  ),
  source.DataSet(
    name='sim_adaplanner',
    title='AdaPlanner on ALFWorld',
    kind='trajectory',
    format='Code',
    licence='MIT',
    location=source.Location(github='haotiansun14/AdaPlanner'),
    # It publishes no episodes; its logs are programs and what they met.
    files=(
      source.Files('*.txt', text_games.program),
      source.Files('*.log', text_games.program),
    ),
  ),
)
