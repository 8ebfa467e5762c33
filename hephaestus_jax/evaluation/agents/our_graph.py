"""A small knowledge graph of our own, and questions to it, for KG.

An invented archipelago: islands, lighthouses, keepers and ferries. Names of
relations look like Freebase's (domain.type.property), ids of entities likewise.
Nobody can know the answers without asking the graph.
"""

from collections.abc import Iterator
from typing import Any

# island: (group, area in hectares, islands that a ferry goes to)
ISLANDS: dict[str, tuple[str, int, tuple[str, ...]]] = {
  'ulmsay': ('north', 410, ('torrin', 'brede', 'skelf')),
  'torrin': ('north', 95, ('ulmsay', 'skelf')),
  'skelf': ('north', 33, ('ulmsay',)),
  'brede': ('south', 780, ('ulmsay', 'marrow', 'oxholm')),
  'marrow': ('south', 120, ('brede',)),
  'oxholm': ('south', 240, ('brede', 'marrow')),
  'finnay': ('west', 65, ()),
}
# lighthouse: (island, height in metres, year of its first light, builder)
LIGHTHOUSES: dict[str, tuple[str, int, int, str]] = {
  'cape_lamp': ('ulmsay', 38, 1861, 'ina_corrie'),
  'old_stag': ('ulmsay', 21, 1797, 'tam_reid'),
  'needle': ('torrin', 44, 1888, 'ina_corrie'),
  'low_light': ('skelf', 12, 1902, 'ewan_bell'),
  'great_brede': ('brede', 51, 1874, 'ina_corrie'),
  'marrow_head': ('marrow', 27, 1841, 'tam_reid'),
  'ox_rock': ('oxholm', 33, 1910, 'ewan_bell'),
  'finn_light': ('finnay', 19, 1853, 'tam_reid'),
}
# keeper: (lighthouses kept, island of birth, year of birth)
KEEPERS: dict[str, tuple[tuple[str, ...], str, int]] = {
  'ada_moss': (('cape_lamp', 'needle'), 'skelf', 1869),
  'jon_pell': (('great_brede',), 'brede', 1850),
  'ruth_garn': (('ox_rock', 'marrow_head'), 'ulmsay', 1888),
  'sil_hay': (('low_light', 'old_stag'), 'torrin', 1880),
  'ned_orr': (('finn_light', 'needle'), 'finnay', 1861),
}

RELATIONS = {
  'geography.island.group': 'geography.island_group',
  'geography.island.lighthouses': 'architecture.lighthouse',
  'geography.island.ferry_to': 'geography.island',
  'geography.island.born_here': 'people.keeper',
  'geography.island_group.islands': 'geography.island',
  'architecture.lighthouse.island': 'geography.island',
  'architecture.lighthouse.builder': 'architecture.builder',
  'architecture.lighthouse.keepers': 'people.keeper',
  'architecture.builder.lighthouses': 'architecture.lighthouse',
  'people.keeper.lighthouses': 'architecture.lighthouse',
  'people.keeper.place_of_birth': 'geography.island',
}
ATTRIBUTES = (
  'geography.island.area',
  'architecture.lighthouse.height',
  'architecture.lighthouse.first_light',
  'people.keeper.year_of_birth',
)


def triples() -> Iterator[tuple[str, str, str | int]]:
  """(entity, relation or attribute, entity or number), each relation both ways.

  ('m.skelf', 'geography.island.area', 33) is one of them.
  """
  for island, (group, area, ferries) in ISLANDS.items():
    yield f'm.{island}', 'geography.island.area', area
    yield f'm.{island}', 'geography.island.group', f'm.{group}'
    yield f'm.{group}', 'geography.island_group.islands', f'm.{island}'
    for other in ferries:
      yield f'm.{island}', 'geography.island.ferry_to', f'm.{other}'
  for light, (island, height, year, builder) in LIGHTHOUSES.items():
    yield f'm.{light}', 'architecture.lighthouse.height', height
    yield f'm.{light}', 'architecture.lighthouse.first_light', year
    yield f'm.{light}', 'architecture.lighthouse.island', f'm.{island}'
    yield f'm.{island}', 'geography.island.lighthouses', f'm.{light}'
    yield f'm.{light}', 'architecture.lighthouse.builder', f'm.{builder}'
    yield f'm.{builder}', 'architecture.builder.lighthouses', f'm.{light}'
  for keeper, (lights, island, year) in KEEPERS.items():
    yield f'm.{keeper}', 'people.keeper.year_of_birth', year
    yield f'm.{keeper}', 'people.keeper.place_of_birth', f'm.{island}'
    yield f'm.{island}', 'geography.island.born_here', f'm.{keeper}'
    for light in lights:
      yield f'm.{keeper}', 'people.keeper.lighthouses', f'm.{light}'
      yield f'm.{light}', 'architecture.lighthouse.keepers', f'm.{keeper}'


def _task(
  number: int,
  question: str,
  entities: tuple[str, ...],
  actions: tuple[str, ...],
  answer: tuple[str, ...],
) -> dict[str, Any]:
  """A record like AgentBench's; 'Ada Moss' stands for 'm.ada_moss'."""
  return {
    'qid': f'islands-{number}',
    'question': question,
    'entities': {e: 'm.' + e.lower().replace(' ', '_') for e in entities},
    'actions': list(actions),
    'answer': [{'answer_argument': one} for one in answer],
  }


TASKS = [
  _task(
    1,
    'which lighthouses did Ina Corrie build?',
    ('Ina Corrie',),
    (
      'get_relations(Ina Corrie)',
      'get_neighbors(Ina Corrie, architecture.builder.lighthouses)',
    ),
    ('m.cape_lamp', 'm.needle', 'm.great_brede'),
  ),
  _task(
    2,
    'who built the lighthouses that Ruth Garn kept?',
    ('Ruth Garn',),
    (
      'get_relations(Ruth Garn)',
      'get_neighbors(Ruth Garn, people.keeper.lighthouses)',
      'get_relations(#0)',
      'get_neighbors(#0, architecture.lighthouse.builder)',
    ),
    ('m.ewan_bell', 'm.tam_reid'),
  ),
  _task(
    3,
    'which lighthouse was kept by both Ada Moss and Ned Orr?',
    ('Ada Moss', 'Ned Orr'),
    (
      'get_relations(Ada Moss)',
      'get_neighbors(Ada Moss, people.keeper.lighthouses)',
      'get_relations(Ned Orr)',
      'get_neighbors(Ned Orr, people.keeper.lighthouses)',
      'intersection(#0, #1)',
    ),
    ('m.needle',),
  ),
  _task(
    4,
    'what is the highest lighthouse of the North group?',
    ('North',),
    (
      'get_relations(North)',
      'get_neighbors(North, geography.island_group.islands)',
      'get_relations(#0)',
      'get_neighbors(#0, geography.island.lighthouses)',
      'get_attributes(#1)',
      'argmax(#1, architecture.lighthouse.height)',
    ),
    ('m.needle',),
  ),
  _task(
    5,
    'which is the smallest island that a ferry from Brede goes to?',
    ('Brede',),
    (
      'get_relations(Brede)',
      'get_neighbors(Brede, geography.island.ferry_to)',
      'get_attributes(#0)',
      'argmin(#0, geography.island.area)',
    ),
    ('m.marrow',),
  ),
  _task(
    6,
    'how many lighthouses did Tam Reid build?',
    ('Tam Reid',),
    (
      'get_relations(Tam Reid)',
      'get_neighbors(Tam Reid, architecture.builder.lighthouses)',
      'count(#0)',
    ),
    ('3',),
  ),
  _task(
    7,
    'on which islands was somebody born who kept a lighthouse of Tam Reid?',
    ('Tam Reid',),
    (
      'get_relations(Tam Reid)',
      'get_neighbors(Tam Reid, architecture.builder.lighthouses)',
      'get_relations(#0)',
      'get_neighbors(#0, architecture.lighthouse.keepers)',
      'get_relations(#1)',
      'get_neighbors(#1, people.keeper.place_of_birth)',
    ),
    ('m.torrin', 'm.ulmsay', 'm.finnay'),
  ),
  _task(
    8,
    'how many islands have ferries from both Ulmsay and Torrin?',
    ('Ulmsay', 'Torrin'),
    (
      'get_relations(Ulmsay)',
      'get_neighbors(Ulmsay, geography.island.ferry_to)',
      'get_relations(Torrin)',
      'get_neighbors(Torrin, geography.island.ferry_to)',
      'intersection(#0, #1)',
      'count(#2)',
    ),
    ('1',),
  ),
  _task(
    9,
    'who was the first born of the keepers of Ina Corrie’s lighthouses?',
    ('Ina Corrie',),
    (
      'get_relations(Ina Corrie)',
      'get_neighbors(Ina Corrie, architecture.builder.lighthouses)',
      'get_relations(#0)',
      'get_neighbors(#0, architecture.lighthouse.keepers)',
      'get_attributes(#1)',
      'argmin(#1, people.keeper.year_of_birth)',
    ),
    ('m.jon_pell',),
  ),
]
