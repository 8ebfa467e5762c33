"""A shop of our own for WS: a few hundred products, and what people want.

Made from the lists below by a fixed rule, the same everywhere: WebShop's own
products are not ours to give away. Kinds share words and attributes, so that a
search alone does not find the right one.
"""

import dataclasses
import functools
import random
from collections.abc import Mapping

PER_KIND = 25
TASKS = 40
SEED = 1

# kind: (category, nouns of titles, attributes, options)
KINDS: dict[
  str,
  tuple[str, tuple[str, ...], tuple[str, ...], dict[str, tuple[str, ...]]],
] = {
  'tent': (
    'Outdoors › Camping › Tents',
    ('Dome Tent', 'Tunnel Tent', 'Trekking Tent'),
    ('waterproof', 'two doors', 'light weight', 'easy setup', 'uv resistant'),
    {'color': ('moss', 'rust', 'slate'), 'size': ('1 person', '2 person')},
  ),
  'sleeping bag': (
    'Outdoors › Camping › Sleeping Bags',
    ('Mummy Sleeping Bag', 'Summer Sleeping Bag'),
    ('machine washable', 'light weight', 'long zip', 'synthetic fill'),
    {'color': ('slate', 'plum'), 'size': ('regular', 'long')},
  ),
  'lantern': (
    'Outdoors › Camping › Lights',
    ('Camping Lantern', 'Storm Lantern'),
    ('waterproof', 'rechargeable', 'battery powered', 'dimmable'),
    {'color': ('brass', 'black')},
  ),
  'kettle': (
    'Kitchen › Drinks › Kettles',
    ('Whistling Kettle', 'Electric Kettle', 'Camping Kettle'),
    ('stainless steel', 'bpa free', 'easy clean', 'light weight'),
    {'color': ('copper', 'black', 'white'), 'capacity': ('1 l', '1.7 l')},
  ),
  'coffee': (
    'Food › Drinks › Coffee',
    ('Ground Coffee', 'Whole Bean Coffee'),
    ('fair trade', 'low acid', 'dark roast', 'shade grown', 'decaffeinated'),
    {'size': ('8 ounce', '12 ounce', '2 pound')},
  ),
  'tea': (
    'Food › Drinks › Tea',
    ('Black Tea', 'Herbal Tea', 'Green Tea'),
    ('fair trade', 'caffeine free', 'loose leaf', 'sugar free'),
    {'size': ('20 bags', '100 bags'), 'flavor': ('mint', 'smoke', 'plain')},
  ),
  'oatmeal': (
    'Food › Breakfast › Cereals',
    ('Instant Oatmeal', 'Steel Cut Oatmeal'),
    ('gluten free', 'non gmo', 'sugar free', 'high fiber'),
    {'flavor': ('apple', 'maple', 'plain'), 'size': ('6 pack', '12 pack')},
  ),
  'headphones': (
    'Electronics › Audio › Headphones',
    ('Over Ear Headphones', 'Sport Headphones'),
    ('noise cancelling', 'wireless', 'long battery', 'light weight'),
    {'color': ('black', 'white', 'plum')},
  ),
  'speaker': (
    'Electronics › Audio › Speakers',
    ('Portable Speaker', 'Shower Speaker'),
    ('waterproof', 'wireless', 'stereo sound', 'long battery'),
    {'color': ('black', 'rust', 'slate')},
  ),
  'boots': (
    'Clothing › Shoes › Boots',
    ('Hiking Boots', 'Rain Boots', 'Ankle Boots'),
    ('waterproof', 'rubber sole', 'arch support', 'memory foam'),
    {'color': ('black', 'moss'), 'size': ('7', '8', '9', '10')},
  ),
  'sweater': (
    'Clothing › Tops › Sweaters',
    ('Cable Knit Sweater', 'Hooded Sweater'),
    ('machine washable', 'hand made', 'long sleeve', 'wool blend'),
    {'color': ('plum', 'rust', 'slate'), 'size': ('small', 'medium', 'large')},
  ),
  'lamp': (
    'Home › Lights › Lamps',
    ('Desk Lamp', 'Floor Lamp'),
    ('dimmable', 'energy efficient', 'easy assemble', 'solid wood'),
    {'color': ('white', 'brass', 'black')},
  ),
}
BRANDS = (
  *('Arden', 'Birkwood', 'Calder', 'Dunmore', 'Eskdale', 'Farrow', 'Glenby'),
  *('Hollin', 'Ironbridge', 'Juniper', 'Kestrel', 'Larkfield', 'Merrow'),
)


@dataclasses.dataclass(frozen=True)
class Product:
  """Something to buy.

  Attributes:
    name: ten letters and digits, what is clicked on.
    kind: one of KINDS.
    title, category: for people to read.
    features: a line per attribute.
    attributes: what it has.
    options: what to choose, and from what.
    price: in dollars.
  """

  name: str
  kind: str
  title: str
  category: str
  features: tuple[str, ...]
  attributes: tuple[str, ...]
  options: Mapping[str, tuple[str, ...]]
  price: float


@dataclasses.dataclass(frozen=True)
class Goal:
  """What somebody wants.

  Attributes:
    product: the one that it was made for; others may do as well.
    instruction: in words.
    attributes, options: that it must have, and those to be chosen.
    price_below: in dollars.
  """

  product: Product
  instruction: str
  attributes: tuple[str, ...]
  options: Mapping[str, str]
  price_below: float


@functools.cache
def products() -> tuple[Product, ...]:
  """All of them, PER_KIND of each kind."""
  chance = random.Random(SEED)
  found: list[Product] = []
  for kind, (category, nouns, attributes, options) in KINDS.items():
    for _ in range(PER_KIND):
      has = tuple(sorted(chance.sample(attributes, 3)))
      title = f'{chance.choice(BRANDS)} {chance.choice(nouns)}'
      title += f' {chance.randrange(100, 1000)}, {has[0].title()}'
      found.append(
        Product(
          f'S{len(found):03}{chance.randrange(16**6):06X}',
          kind,
          title,
          category,
          tuple(f'This {kind} is known for: {one}.' for one in has),
          has,
          options,
          chance.randrange(500, 20000) / 100,
        )
      )
  return tuple(found)


@functools.cache
def goals() -> tuple[Goal, ...]:
  """TASKS of them, of different products."""
  chance = random.Random(SEED + 1)
  found = []
  for product in chance.sample(products(), TASKS):
    attributes = tuple(sorted(chance.sample(product.attributes, 2)))
    options = {
      name: chance.choice(values) for name, values in product.options.items()
    }
    below = 10.0 * (int(product.price / 10) + chance.randrange(1, 4))
    wanted = ', and '.join(f'{name} {one}' for name, one in options.items())
    found.append(
      Goal(
        product,
        f'i need a {product.title.split(",")[0].lower()} that is '
        f'{" and ".join(attributes)}, in {wanted}, and price lower than '
        f'{below:.2f} dollars',
        attributes,
        options,
        below,
      )
    )
  return tuple(found)
