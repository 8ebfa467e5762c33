"""Households of our own for HH: four rooms, and two tasks of each kind.

ALFWorld's published games are not in its package. Its rules are: the PDDL
domain, the goal and the wording of each kind of task, what may lie where and
what can be heated. Games made of these and the rooms below are ALFWorld's in
everything but who furnished the rooms.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# A room: receptacles, each with the things in it, in ALFWorld's names.
Room = tuple[tuple[str, tuple[str, ...]], ...]

ROOMS: Mapping[str, Room] = {
  'kitchen': (
    ('CounterTop', ('Knife', 'Bread', 'DishSponge', 'SoapBottle')),
    ('CounterTop', ('Plate', 'Spatula', 'Cup')),
    ('DiningTable', ('Apple', 'Bowl', 'PepperShaker', 'Potato')),
    ('Cabinet', ('Kettle',)),
    ('Cabinet', ('Mug', 'Glassbottle')),
    ('Cabinet', ()),
    ('Drawer', ('Fork', 'Spoon')),
    ('Drawer', ()),
    ('Fridge', ('Egg', 'Lettuce', 'Tomato')),
    ('Microwave', ()),
    ('SinkBasin', ('Pot',)),
    ('StoveBurner', ('Pan',)),
    ('StoveBurner', ()),
    ('CoffeeMachine', ()),
    ('Toaster', ()),
    ('GarbageCan', ('Newspaper',)),
  ),
  'bathroom': (
    ('CounterTop', ('Candle', 'SoapBottle')),
    ('Cabinet', ('SprayBottle',)),
    ('Cabinet', ('ToiletPaper',)),
    ('Cabinet', ('Cloth',)),
    ('Drawer', ()),
    ('Drawer', ('SoapBar',)),
    ('Shelf', ('SoapBar', 'SprayBottle')),
    ('SinkBasin', ()),
    ('BathtubBasin', ('Cloth',)),
    ('Toilet', ()),
    ('ToiletPaperHanger', ()),
    ('GarbageCan', ('SoapBar',)),
  ),
  'bedroom': (
    ('Bed', ('Laptop', 'Pillow')),
    ('Desk', ('AlarmClock', 'DeskLamp', 'Pen')),
    ('SideTable', ('CreditCard', 'Book')),
    ('Dresser', ('CellPhone', 'CD')),
    ('Drawer', ('KeyChain',)),
    ('Drawer', ('CellPhone',)),
    ('Shelf', ('Bowl',)),
    ('Shelf', ('Mug', 'Pencil')),
    ('Safe', ('CD',)),
    ('GarbageCan', ()),
  ),
  'living room': (
    ('Sofa', ('Pillow', 'Laptop')),
    ('ArmChair', ('RemoteControl',)),
    ('CoffeeTable', ('Box', 'Statue', 'Plate')),
    ('SideTable', ('DeskLamp', 'Newspaper')),
    ('SideTable', ('KeyChain',)),
    ('Drawer', ('Watch',)),
    ('Drawer', ('CreditCard',)),
    ('Drawer', ()),
    ('Shelf', ('Vase', 'KeyChain')),
    ('GarbageCan', ()),
  ),
}


@dataclasses.dataclass(frozen=True)
class Household:
  """A task in a room.

  Attributes:
    kind: one of ALFWorld's.
    room: one of ROOMS.
    thing: what it is about.
    target: where it shall be, or the lamp that shall shine on it.
  """

  kind: str
  room: str
  thing: str
  target: str

  @property
  def name(self) -> str:
    """'pick_two_obj_and_place-SoapBar-Drawer'."""
    return f'{self.kind}-{self.thing}-{self.target}'


HOUSEHOLDS = (
  Household('pick_and_place_simple', 'bathroom', 'SprayBottle', 'Toilet'),
  Household('pick_and_place_simple', 'living room', 'Watch', 'Shelf'),
  Household('look_at_obj_in_light', 'bedroom', 'CD', 'DeskLamp'),
  Household('look_at_obj_in_light', 'living room', 'Statue', 'DeskLamp'),
  Household(
    'pick_clean_then_place_in_recep', 'kitchen', 'Mug', 'CoffeeMachine'
  ),
  Household(
    'pick_clean_then_place_in_recep', 'bathroom', 'Cloth', 'CounterTop'
  ),
  Household('pick_heat_then_place_in_recep', 'kitchen', 'Egg', 'DiningTable'),
  Household('pick_heat_then_place_in_recep', 'kitchen', 'Plate', 'Cabinet'),
  Household('pick_cool_then_place_in_recep', 'kitchen', 'Apple', 'Microwave'),
  Household('pick_cool_then_place_in_recep', 'kitchen', 'Pan', 'StoveBurner'),
  Household('pick_two_obj_and_place', 'bedroom', 'CellPhone', 'Bed'),
  Household('pick_two_obj_and_place', 'bathroom', 'SoapBar', 'Drawer'),
)


@dataclasses.dataclass(frozen=True)
class Rules:
  """What ALFWorld's package says, see `household.rules`.

  Attributes:
    domain, grammar: the text of its alfred.pddl and alfred.twl2.
    kinds: kind of task -> {'pddl': its goal, 'templates': its wording}.
    holds: receptacle -> what may lie in it.
    abilities: 'Heatable' -> what can be heated, and so on.
    openable: receptacles with a door or a lid.
  """

  domain: str
  grammar: str
  kinds: Mapping[str, Mapping[str, Any]]
  holds: Mapping[str, set[str]]
  abilities: Mapping[str, set[str]]
  openable: set[str]


def game(household: Household, rules: Rules) -> dict[str, Any]:
  """A household as ALFWorld's game files have it (game.tw-pddl).

  Returns:
    {'pddl_domain', 'pddl_problem', 'grammar'}
  """
  words = {
    'obj': household.thing,
    'recep': household.target,
    'toggle': household.target,
  }
  kind = rules.kinds[household.kind]
  wording = kind['templates'][0].format(
    **{key: word.lower() for key, word in words.items()}
  )
  # ALFWorld writes '#' for '-' there. The goal closes the problem.
  goal = kind['pddl'].format(**words).replace('#', '-')
  objects, facts = _furnish(ROOMS[household.room], rules)
  problem = '\n'.join(
    [
      '(define (problem household) (:domain alfred)',
      *('(:objects', *objects, ')'),
      *('(:init', '(= (total-cost) 0)', *facts, ')'),
      goal,
    ]
  )
  return {
    'pddl_domain': rules.domain,
    'grammar': rules.grammar.replace('UNKNOWN GOAL', wording),
    'pddl_problem': problem,
  }


def _furnish(room: Room, rules: Rules) -> tuple[list[str], list[str]]:
  """(objects with their types, facts) of a room, in PDDL."""
  objects = ['agent1 - agent', 'middle - location']
  facts = ['(atLocation agent1 middle)']
  things = sorted({thing for _, inside in room for thing in inside})
  places = sorted({place for place, _ in room})
  objects += [f'{place}Type - rtype' for place in places]
  objects += [f'{thing}Type - otype' for thing in things]
  facts += [
    f'(canContain {place}Type {thing}Type)'
    for place in places
    for thing in things
    if thing in rules.holds[place]
  ]
  for i, (place, inside) in enumerate(room):
    # Names such as ALFWorld's: what stands before the bar is shown, and a
    # basin's name is its own with 'basin' added.
    here = f'{place.lower().removesuffix("basin")}_bar_{i:02}'
    here += '_bar_basin' if place.endswith('Basin') else ''
    objects += [f'{here} - receptacle', f'at{i:02} - location']
    facts += [
      f'(receptacleAtLocation {here} at{i:02})',
      f'(receptacleType {here} {place}Type)',
    ]
    if place in rules.openable:
      facts.append(f'(openable {here})')
    for j, thing in enumerate(inside):
      name = f'{thing.lower()}_bar_{i:02}_{j:02}'
      objects.append(f'{name} - object')
      facts += [
        f'(objectType {name} {thing}Type)',
        f'(inReceptacle {name} {here})',
        f'(objectAtLocation {name} at{i:02})',
      ]
      # A lamp stays where it is.
      if thing not in rules.abilities['Toggleable']:
        facts.append(f'(pickupable {name})')
      facts += [
        f'({ability.lower()} {name})'
        for ability, able in rules.abilities.items()
        if thing in able
      ]
  return objects, facts
