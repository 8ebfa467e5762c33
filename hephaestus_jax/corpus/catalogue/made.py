"""Sources that our own commands make (sections 4.1 and 4.2): Documents already.

Their folder, such as runs/forge/simulate, is named in FOLDERS when a corpus is
built with them.
"""

from hephaestus_jax.corpus import source

SOURCES: tuple[source.DataSet, ...] = (
  source.DataSet(
    name='code_to_text',
    title='Code-to-text synthesis',
    kind='documentation',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(made_by='synthesise'),
    verified=True,
  ),
  source.DataSet(
    name='simulated_agents',
    title='Simulated agent data',
    kind='trajectory',
    format='ReAct',
    licence='NOASSERTION',
    location=source.Location(made_by='simulate'),
    verified=True,
  ),
  source.DataSet(
    name='retrieved_web',
    title='Retrieved web data',
    kind='text',
    format='Plain Text',
    licence='NOASSERTION',
    location=source.Location(made_by='retrieve'),
    verified=True,
  ),
)
