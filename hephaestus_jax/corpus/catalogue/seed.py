"""The paper's 61 seed sources, in the order of its Tables 9 and 10.

`tokens_billion` is the paper's count. A source without `files` is one whose
format nobody could look up: its rows name what is known.
"""

from hephaestus_jax.corpus import source
from hephaestus_jax.corpus.adapters import (
  api_bank,
  api_sequence,
  columns,
  dialog,
  json_calls,
  pages,
  plain,
  plans,
  question_answer,
  react,
  solution_tree,
  text_games,
  tool_tasks,
)

# The files of a data set on the hub, in whichever format they are.
_TABLES = '*.{parquet,jsonl,json,csv}'

SOURCES: tuple[source.DataSet, ...] = (
  source.DataSet(
    name='toolbench',
    title='ToolBench',
    kind='trajectory',
    format='Dialog',
    licence='Apache-2.0',
    tokens_billion=0.530,
    location=source.Location(github='OpenBMB/ToolBench'),
    verified=True,
    files=(
      # Toolllama files come with the full data, and were not tried.
      source.Files('answer/**/*.json', solution_tree.answer, unit='whole'),
      source.Files('instruction/*.json', solution_tree.query),
      source.Files(
        'test_instruction/*.json', solution_tree.query, split=source.HELDOUT
      ),
      source.Files('toolenv/**/*.json', solution_tree.tool, unit='whole'),
      source.Files(
        'toolllama_*_eval.json', react.episode, split=source.HELDOUT
      ),
      source.Files('toolllama_*.json', react.episode),
    ),
  ),
  source.DataSet(
    name='agentinstruct',
    title='AgentInstruct',
    kind='trajectory',
    format='ReAct',
    licence='Apache-2.0',
    tokens_billion=0.002,
    location=source.Location(huggingface='THUDM/AgentInstruct'),
    verified=True,
    files=(
      # Six tasks, all published to train on. The split is ours: mind2web, the
      # only one of single steps, is held out; the five others train.
      source.Files('mind2web*.parquet', react.episode, split=source.HELDOUT),
      source.Files('mind2web*.json', react.episode, split=source.HELDOUT),
      source.Files('*.parquet', react.episode),
      source.Files('*.json', react.episode),
    ),
  ),
  source.DataSet(
    name='alexa_arena',
    title='Alexa-Arena',
    kind='trajectory',
    format='NL Plan',
    licence='CC-BY-NC-4.0',
    tokens_billion=0.035,
    location=source.Location(github='amazon-science/alexa-arena'),
    verified=True,
    files=(
      source.Files('CDFs/*.json', plans.alexa_mission, unit='whole'),
      source.Files(
        '*{test,val}*.json',
        plans.alexa_arena,
        unit='values',
        split=source.HELDOUT,
      ),
      source.Files('*.json', plans.alexa_arena, unit='values'),
    ),
  ),
  source.DataSet(
    name='chat_ego_4d',
    title='chat_ego_4d',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.025,
    location=source.Location(github='EmbodiedGPT/EgoCOT_Dataset'),
    verified=True,
    files=(source.Files('*.{json,jsonl}', api_sequence.egocot),),
  ),
  source.DataSet(
    name='fireact',
    title='FireAct',
    kind='trajectory',
    format='ReAct',
    licence='MIT',
    tokens_billion=0.002,
    location=source.Location(github='anchen1011/FireAct'),
    verified=True,
    files=(
      source.Files('alpaca_format/*.json', react.fireact),
      source.Files('gpt_format/*.jsonl', react.episode),
    ),
  ),
  source.DataSet(
    name='nat',
    title='NAT',
    kind='trajectory',
    format='ReAct',
    licence='NOASSERTION',
    tokens_billion=0.003,
    location=source.Location(github='Reason-Wang/NAT'),
    verified=True,
    files=(
      source.Files('*_positive.json', react.episode),
      source.Files('*_negative.json', react.episode),
      source.Files('prompts/**/*.json', react.nat_prompts, unit='values'),
      source.Files('train.jsonl', question_answer.strategy_qa),
      source.Files(
        'dev.jsonl', question_answer.strategy_qa, split=source.HELDOUT
      ),
      source.Files(
        'test.jsonl', question_answer.strategy_qa, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='toolalpaca',
    title='ToolAlpaca',
    kind='trajectory',
    format='Plain Text',
    licence='Apache-2.0',
    tokens_billion=0.004,
    location=source.Location(github='tangqiaoyu/ToolAlpaca'),
    verified=True,
    files=(
      # The training file was not tried: its `Instances` are as documented.
      source.Files('train_data.json', tool_tasks.tool_alpaca),
      source.Files('eval_*.json', tool_tasks.tool_alpaca, split=source.HELDOUT),
      source.Files(
        'evalution_outputs/*.json',
        tool_tasks.evaluations,
        unit='values',
        split=source.HELDOUT,
      ),
      source.Files('public_apis.json', tool_tasks.directory, unit='entries'),
    ),
  ),
  source.DataSet(
    name='lumos',
    title='Lumos',
    kind='trajectory',
    format='Dialog',
    licence='Apache-2.0',
    tokens_billion=0.109,
    location=source.Location(
      huggingface='ai2lumos/lumos_complex_qa_ground_iterative',
    ),
    files=(source.Files('*.jsonl', react.lumos),),
  ),
  source.DataSet(
    name='ste',
    title='STE',
    kind='trajectory',
    format='Plain Text',
    licence='MIT',
    tokens_billion=0.025,
    location=source.Location(github='microsoft/simulated-trial-and-error'),
    verified=True,
    files=(
      # The training file was not tried: its fields are as documented.
      source.Files('tool_data_train*.json', tool_tasks.trials),
      source.Files(
        'tool_test*.json',
        tool_tasks.trials,
        unit='values',
        split=source.HELDOUT,
      ),
      source.Files(
        'saved_results/*.json',
        tool_tasks.trials,
        unit='values',
        split=source.HELDOUT,
      ),
      source.Files('flan_v2*.json', tool_tasks.response),
      source.Files(
        'API_descriptions.json', tool_tasks.descriptions, unit='whole'
      ),
    ),
  ),
  source.DataSet(
    name='sambanova_toolbench',
    title='toolbench (Xu 2023)',
    kind='trajectory',
    format='API Seq',
    licence='Apache-2.0',
    tokens_billion=0.010,
    location=source.Location(github='sambanova/toolbench'),
    verified=True,
    files=(
      source.Files('README*.md', api_sequence.toolbench_readme),
      source.Files('functions/*', pages.page),
      source.Files('examples/*', api_sequence.toolbench_example),
      # Its columns differ from task to task.
      source.Files('test.jsonl', columns.calls, split=source.HELDOUT),
    ),
  ),
  source.DataSet(
    name='gorilla_apibench',
    title='Gorilla',
    kind='documentation',
    format='API Seq',
    licence='Apache-2.0',
    tokens_billion=0.009,
    location=source.Location(github='ShishirPatil/gorilla'),
    verified=True,
    files=(
      # The benchmark-loss set of the paper (API-Bench).
      source.Files(
        'apibench/*_eval.json', api_sequence.gorilla, split=source.HELDOUT
      ),
      source.Files('apibench/*_train.json', api_sequence.gorilla),
      source.Files('{api,apizoo}/*.{json,jsonl}', api_sequence.gorilla),
    ),
  ),
  source.DataSet(
    name='public_apis',
    title='PublicAPIs',
    kind='documentation',
    format='Plain Text',
    licence='MIT',
    tokens_billion=0.008,
    location=source.Location(github='public-apis/public-apis'),
    verified=True,
    files=(source.Files('README.md', pages.page),),
  ),
  source.DataSet(
    name='taskbench',
    title='TaskBench',
    kind='trajectory',
    format='NL Plan',
    licence='MIT',
    tokens_billion=0.020,
    location=source.Location(github='microsoft/JARVIS'),
    verified=True,
    files=(
      source.Files('tool_desc.json', api_sequence.documentation, unit='nodes'),
      source.Files('graph_desc.json', api_sequence.documentation, unit='whole'),
      source.Files('{data,user_requests}.json', plans.taskbench),
      source.Files('*.{jsonl,parquet}', plans.taskbench),
    ),
  ),
  source.DataSet(
    name='restbench',
    title='RestBench',
    kind='trajectory',
    format='API Seq',
    licence='MIT',
    tokens_billion=0.001,
    location=source.Location(github='Yifan-Song793/RestGPT'),
    verified=True,
    files=(
      source.Files('specs/*_oas.json', api_sequence.restbench, unit='whole'),
      source.Files('*.json', api_sequence.restbench),
    ),
  ),
  source.DataSet(
    name='saycanpay',
    title='SayCanPay',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(github='RishiHazra/saycanpay'),
    verified=True,
    files=(
      # Text files without a suffix, named by the time of the run.
      source.Files(
        '{oracle-plans/test*,test-generalize}/*',
        plans.saycanpay,
        unit='paragraphs',
        split=source.HELDOUT,
      ),
      source.Files('train/*', plans.saycanpay, unit='paragraphs'),
    ),
  ),
  source.DataSet(
    name='agentflan',
    title='AgentFLAN',
    kind='trajectory',
    format='Dialog',
    licence='Apache-2.0',
    tokens_billion=0.020,
    location=source.Location(huggingface='internlm/Agent-FLAN'),
    files=(source.Files('*.jsonl', react.episode),),
  ),
  source.DataSet(
    name='planbench',
    title='PlanBench',
    kind='trajectory',
    format='NL Plan',
    licence='MIT',
    tokens_billion=0.001,
    location=source.Location(github='karthikv792/LLMs-Planning'),
    verified=True,
    files=(
      source.Files('task_*.json', plans.planbench, unit='instances'),
      source.Files('*.pddl', plain.code),
    ),
  ),
  source.DataSet(
    name='swiftsage',
    title='SwiftSage',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.022,
    location=source.Location(github='yuchenlin/SwiftSage'),
    verified=True,
    files=(
      # The oracle's logs are of ScienceWorld's test variations.
      source.Files('demos.json', text_games.demonstrations, unit='values'),
      source.Files('prompt.jsonl', text_games.episode),
      source.Files(
        'oracle_log/*.json',
        text_games.science_world,
        unit='values',
        split=source.HELDOUT,
      ),
    ),
  ),
  source.DataSet(
    name='t_eval',
    title='T-Eval',
    kind='trajectory',
    format='Dialog',
    licence='Apache-2.0',
    tokens_billion=0.040,
    location=source.Location(huggingface='lovesnowbest/T-Eval'),
    verified=True,
    files=(
      # Its questions are all for tests (in English and, `_zh`, in Chinese),
      # and were not tried; tools and the printed prompt were, and train.
      source.Files('api_descrip*.json', solution_tree.tool),
      source.Files('readme_prompt_example.json', dialog.chat, unit='whole'),
      source.Files(
        '*_v?.json', dialog.t_eval, unit='values', split=source.HELDOUT
      ),
      source.Files(
        '*_v?_*.json', dialog.t_eval, unit='values', split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='api_bank',
    title='API-Bank',
    kind='trajectory',
    format='API Seq',
    licence='Apache-2.0',
    tokens_billion=0.001,
    location=source.Location(github='AlibabaResearch/DAMO-ConvAI'),
    verified=True,
    files=(
      # What it evaluates on: dialogues, scenes, and the same as rows.
      source.Files(
        'lv1-lv2-samples/**/*.jsonl',
        api_bank.dialogue,
        unit='whole',
        split=source.HELDOUT,
      ),
      source.Files('lv3-samples/*.txt', api_bank.scene, split=source.HELDOUT),
      source.Files(
        '{test-data,json_test_data}/*.json', api_bank.row, split=source.HELDOUT
      ),
      source.Files('training-data/*.json', api_bank.row),
      source.Files('all_apis.csv', api_bank.api),
    ),
  ),
  source.DataSet(
    name='jerichoworld',
    title='JerichoWorld',
    kind='trajectory',
    format='NL Plan',
    licence='MIT',
    tokens_billion=0.001,
    location=source.Location(github='JerichoWorld/JerichoWorld'),
    verified=True,
    files=(
      source.Files('test.json', plans.jericho, split=source.HELDOUT),
      source.Files('*.json', plans.jericho),
    ),
  ),
  source.DataSet(
    name='api_pack',
    title='API-Pack',
    kind='trajectory',
    format='API Seq',
    licence='CC-BY-4.0',
    tokens_billion=0.800,
    location=source.Location(huggingface='zguo0525/API-Pack'),
    verified=True,
    files=(
      source.Files(
        '*_api_calls.json', api_sequence.documentation, unit='whole'
      ),
      source.Files('*test*.json', api_sequence.api_pack, split=source.HELDOUT),
      source.Files('*.{json,jsonl,parquet}', api_sequence.api_pack),
    ),
  ),
  source.DataSet(
    name='codeact',
    title='CodeAct',
    kind='trajectory',
    format='Dialog',
    licence='Apache-2.0',
    tokens_billion=0.009,
    location=source.Location(huggingface='xingyaoww/code-act'),
    verified=True,
    files=(
      source.Files('*.parquet', react.code_act),
      source.Files('*.json', react.code_act),
    ),
  ),
  source.DataSet(
    name='ultratool',
    title='UltraTool',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.002,
    location=source.Location(github='JoeYing1019/UltraTool'),
    verified=True,
    files=(
      # test_set/ asks for parts of what test.json holds.
      source.Files('{dev,example/*}.json', plans.ultratool),
      source.Files('*.json', plans.ultratool, split=source.HELDOUT),
    ),
  ),
  source.DataSet(
    name='tooleyes',
    title='ToolEyes',
    kind='documentation',
    format='JSON',
    licence='Apache-2.0',
    tokens_billion=0.001,
    location=source.Location(github='Junjie-Ye/ToolEyes'),
    verified=True,
    files=(
      source.Files('Tool_Library/**/*.json', json_calls.tooleyes),
      source.Files(
        'Test_Data/*.json', json_calls.tooleyes, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='openmathinstruct',
    title='OpenMathInstruct',
    kind='trajectory',
    format='API Seq',
    licence='LicenseRef-NVIDIA-OpenMathInstruct-1',
    tokens_billion=0.335,
    location=source.Location(huggingface='nvidia/OpenMathInstruct-1'),
    verified=True,
    files=(
      source.Files(
        '*validation*.jsonl', api_sequence.openmath, split=source.HELDOUT
      ),
      source.Files('*train*.jsonl', api_sequence.openmath),
    ),
  ),
  source.DataSet(
    name='nexusraven',
    title='NexusRaven',
    kind='trajectory',
    format='JSON',
    licence='CC-BY-NC-4.0',
    tokens_billion=0.001,
    location=source.Location(github='nexusflowai/NexusRaven'),
    verified=True,
    files=(
      # All of it is the Nexus evaluation, a benchmark-loss set of the paper.
      source.Files(
        '*.{json,jsonl,parquet}', json_calls.nexus, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='seal_tools',
    title='Seal-Tools',
    kind='trajectory',
    format='API Seq',
    licence='Apache-2.0',
    tokens_billion=0.002,
    location=source.Location(github='fairyshine/Seal-Tools'),
    verified=True,
    files=(
      source.Files('{tool,field}.jsonl', api_sequence.seal_tools),
      source.Files('{train,*/train*}.{json,jsonl}', api_sequence.seal_tools),
      source.Files(
        '*.{json,jsonl}', api_sequence.seal_tools, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='ultrainteract',
    title='UltraInteract',
    kind='trajectory',
    format='QA',
    licence='MIT',
    tokens_billion=0.160,
    location=source.Location(huggingface='openbmb/UltraInteract_sft'),
    verified=True,
    files=(
      source.Files('*.parquet', question_answer.ultra_interact),
      source.Files('*.json', question_answer.ultra_interact),
    ),
  ),
  source.DataSet(
    name='python_module',
    title='Python Module',
    kind='documentation',
    format='Plain Text',
    licence='PSF-2.0',
    tokens_billion=0.001,
    location=source.Location(
      urls=('https://docs.python.org/3.12/archives/python-3.12-docs-text.zip',),
    ),
    page='https://docs.python.org/3.12/',
    verified=True,
    files=(
      source.Files('*.html', pages.html),
      source.Files('*.{rst,txt}', pages.page),
    ),
  ),
  source.DataSet(
    name='agenttraj_l',
    title='AgentTraj-L',
    kind='trajectory',
    format='Dialog',
    licence='NOASSERTION',
    tokens_billion=0.020,
    location=source.Location(huggingface='AgentGym/AgentTraj-L'),
    files=(source.Files('*.json', react.episode),),
  ),
  source.DataSet(
    name='mnms',
    title='MNMs',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='zixianma/mnms'),
    files=(
      # It has test files alone, in three states of correction.
      source.Files('test_human_verified_filtered.json', api_sequence.mnms),
      source.Files('*.parquet', api_sequence.mnms),
    ),
  ),
  source.DataSet(
    name='python_qa_api',
    title='PythonQA-API-Usage',
    kind='documentation',
    format='QA',
    licence='NOASSERTION',
    tokens_billion=0.003,
    location=source.Location(
      huggingface='RazinAleks/SO-Python_QA-API_USAGE_class'
    ),
    files=(
      source.Files('train.json', question_answer.pair),
      source.Files(
        'validation.json', question_answer.pair, split=source.HELDOUT
      ),
      source.Files('test.json', question_answer.pair, split=source.HELDOUT),
    ),
  ),
  source.DataSet(
    name='apitext',
    title='APIText',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='havens2/apitext'),
    files=(source.Files('*.parquet', columns.calls),),
  ),
  source.DataSet(
    name='starcoder_apis',
    title='StarCoder-APIs',
    kind='trajectory',
    format='Code',
    licence='NOASSERTION',
    tokens_billion=6.147,
    location=source.Location(huggingface='luna-code/starcoderdata-apis'),
    files=(source.Files('*.parquet', columns.code),),
  ),
  source.DataSet(
    name='apis_v2',
    title='APIs_v2',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.003,
    location=source.Location(huggingface='vinilazzari/apis_v2'),
    files=(source.Files('*.parquet', columns.calls),),
  ),
  source.DataSet(
    name='ultimate',
    title='Ultimate',
    kind='trajectory',
    format='QA',
    licence='NOASSERTION',
    tokens_billion=0.002,
    location=source.Location(
      huggingface='Kris8an/ultimate_apicalls_and_topbot'
    ),
    files=(source.Files(_TABLES, question_answer.any_layout),),
  ),
  source.DataSet(
    name='xlam',
    title='xLAM',
    kind='documentation',
    format='QA',
    licence='CC-BY-4.0',
    tokens_billion=0.022,
    location=source.Location(
      huggingface='Salesforce/xlam-function-calling-60k'
    ),
    verified=True,
    files=(source.Files('*.json', question_answer.xlam),),
  ),
  source.DataSet(
    name='api_doc',
    title='API_doc',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(
      huggingface='Prakhar1000/API_Documentation_dataset_alpaanco',
    ),
    files=(source.Files(_TABLES, columns.documentation),),
  ),
  source.DataSet(
    name='chatsbug',
    title='ChatsBug',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.009,
    location=source.Location(huggingface='chats-bug/agent_action_plan'),
    files=(
      source.Files('test*.parquet', react.action_plan, split=source.HELDOUT),
      source.Files('*.parquet', react.action_plan),
    ),
  ),
  source.DataSet(
    name='sample_scripts',
    title='sample_scripts',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.002,
    location=source.Location(
      huggingface='prantadi/tokenized_dataset_1024_SampleScripts_deduped_API-ref',
    ),
    files=(source.Files('*.json', columns.calls),),
  ),
  source.DataSet(
    name='agent_trajectories',
    title='Agent-Trajectories',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(
      huggingface='Agent-Eval-Refine/Agent-Trajectories'
    ),
    files=(source.Files('trajectory_log.json', api_sequence.agent_trajectory),),
  ),
  source.DataSet(
    name='agent_instruct_sam',
    title='Agent-Instruct',
    kind='trajectory',
    format='Dialog',
    licence='NOASSERTION',
    tokens_billion=0.056,
    location=source.Location(huggingface='sam-mosaic/agent-instruct'),
    files=(source.Files('*.parquet', question_answer.any_layout),),
  ),
  source.DataSet(
    name='agent007',
    title='Agent007',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='DepositorOP/agent007'),
    files=(source.Files(_TABLES, columns.calls),),
  ),
  source.DataSet(
    name='agentcode',
    title='AgentCode',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.010,
    location=source.Location(huggingface='AlignmentLab-AI/agentcode'),
    files=(source.Files('*.jsonl', columns.calls),),
  ),
  source.DataSet(
    name='syn_web_agent',
    title='syn-web-agent',
    kind='trajectory',
    format='JSON',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='allyson-ai/synthetic-web-agent'),
    files=(source.Files(_TABLES, columns.calls),),
  ),
  source.DataSet(
    name='syn_llama',
    title='syn-llama',
    kind='trajectory',
    format='Dialog',
    licence='NOASSERTION',
    tokens_billion=0.004,
    location=source.Location(
      huggingface='Cyleux/agent-machine-convo-llama-nicholas-2k-gpt4-verified',
    ),
    files=(source.Files('*.jsonl', question_answer.any_layout),),
  ),
  source.DataSet(
    name='seq_mind2web',
    title='seq-Mind2Web',
    kind='trajectory',
    format='JSON',
    licence='MIT',
    tokens_billion=1.243,
    location=source.Location(
      huggingface='Izazk/Sequence-of-action-prediction-mind2web',
    ),
    files=(
      # test_task, test_website and test_domain of Mind2Web.
      source.Files('test_*/*.json', json_calls.mind2web, split=source.HELDOUT),
      source.Files('{combined_data.jsonl,train/*.json}', json_calls.mind2web),
    ),
  ),
  source.DataSet(
    name='syn_gemma',
    title='syn-gemma',
    kind='trajectory',
    format='Dialog',
    licence='NOASSERTION',
    tokens_billion=0.047,
    location=source.Location(
      huggingface='NickyNicky/function-calling-sharegpt_chatml_gemma_agent',
    ),
    files=(source.Files(_TABLES, question_answer.any_layout),),
  ),
  source.DataSet(
    name='llm_robot',
    title='LLM Robot',
    kind='trajectory',
    format='API Seq',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='Aryaduta/llm_robot'),
    verified=True,
    files=(source.Files(_TABLES, api_sequence.llm_robot),),
  ),
  source.DataSet(
    name='verifiers_codenet',
    title='Verifiers for Code',
    kind='trajectory',
    format='Plain Text',
    licence='NOASSERTION',
    tokens_billion=0.050,
    location=source.Location(huggingface='verifiers-for-code/CodeNet-Planner'),
    files=(source.Files('*.parquet', question_answer.any_layout),),
  ),
  source.DataSet(
    name='isotonic_planner',
    title='isotonic planner',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.005,
    location=source.Location(huggingface='Isotonic/planner_dataset'),
    files=(
      source.Files('test*.parquet', columns.plans, split=source.HELDOUT),
      source.Files('*.parquet', columns.plans),
    ),
  ),
  source.DataSet(
    name='turing_solutions',
    title='Turing Solutions',
    kind='trajectory',
    format='NL Plan',
    licence='MIT',
    tokens_billion=0.001,
    location=source.Location(
      huggingface='TuringsSolutions/GlobalFunctionCallingTrainingSetLarge',
    ),
    files=(source.Files('*.csv', columns.calls),),
  ),
  source.DataSet(
    # The paper's table repeats the address of the row above.
    name='g_planet',
    title='G-PlanET',
    kind='trajectory',
    format='NL Plan',
    licence='NOASSERTION',
    tokens_billion=0.003,
    location=source.Location(github='INK-USC/G-PlanET'),
    verified=True,
    files=(
      source.Files('train_data/*.jsonl', plans.g_planet),
      source.Files(
        '{valid,test}_data/*.jsonl', plans.g_planet, split=source.HELDOUT
      ),
    ),
  ),
  source.DataSet(
    name='pandas_doc',
    title='Pandas Doc',
    kind='documentation',
    format='Plain Text',
    licence='BSD-3-Clause',
    tokens_billion=0.004,
    location=source.Location(
      urls=('https://pandas.pydata.org/docs/pandas.zip',),
    ),
    page='https://pandas.pydata.org/docs',
    verified=True,
    files=(
      source.Files('*.html', pages.html),
      source.Files('*.txt', pages.page),
    ),
  ),
  source.DataSet(
    name='sugarcrm',
    title='Sugarcrm',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    tokens_billion=0.001,
    location=source.Location(huggingface='kaahila/sugarcrm_130_documentation'),
    files=(
      # train-p50k_base.jsonl is the same text in other chunks.
      source.Files('train-cl100k_base.jsonl', columns.documentation),
    ),
  ),
  source.DataSet(
    name='aws_doc',
    title='AWS',
    kind='documentation',
    format='Plain Text',
    licence='CC-BY-SA-4.0',
    tokens_billion=0.033,
    location=source.Location(
      huggingface='sauravjoshi23/aws-documentation-chunked'
    ),
    verified=True,
    files=(
      # The pages that the rows on the hub are chunks of.
      source.Files('documents/**/*.md', pages.page),
      source.Files(_TABLES, plain.documentation),
    ),
  ),
  source.DataSet(
    name='langchain_docs',
    title='LangChain',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    tokens_billion=0.005,
    location=source.Location(huggingface='jamescalam/langchain-docs-23-06-27'),
    files=(source.Files('*.jsonl', plain.documentation),),
  ),
  source.DataSet(
    name='code_library',
    title='Code Library',
    kind='documentation',
    format='Plain Text',
    licence='CC-BY-SA-4.0',
    tokens_billion=0.013,
    location=source.Location(
      huggingface='code-rag-bench/library-documentation'
    ),
    verified=True,
    files=(
      source.Files('index.json', api_sequence.documentation, unit='whole'),
      source.Files('*.txt', pages.page),
      # DevDocs pages (populated_index.json), the rows on the hub.
      source.Files(_TABLES, plain.documentation),
    ),
  ),
  source.DataSet(
    # The paper's own three-level crawl: `hephaestus crawl` makes one.
    name='public_apis_extend',
    title='PublicAPIs-extend',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    tokens_billion=0.718,
    location=source.Location(made_by='crawl'),
    page='https://github.com/public-apis/public-apis',
    files=(
      source.Files('*.{html,htm}', pages.html),
      source.Files('*.{md,txt}', pages.page),
    ),
  ),
  source.DataSet(
    name='torch_doc',
    title='Torch',
    kind='documentation',
    format='Plain Text',
    licence='BSD-3-Clause',
    tokens_billion=0.005,
    location=source.Location(made_by='crawl'),
    page='https://pytorch.org/docs/stable',
    verified=True,
    files=(
      source.Files('*.html', pages.html),
      source.Files('*.txt', pages.page),
    ),
  ),
)
