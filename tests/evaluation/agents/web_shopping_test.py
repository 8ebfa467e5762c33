"""WS: the shop's pages, its search, and what a purchase is worth."""

import dataclasses
import itertools
import pathlib
import sys

import pytest

from hephaestus_jax.evaluation.agents import (
  agent_bench,
  our_shop,
  web_shopping,
)

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE))

import scripts  # noqa: E402

SHOP = web_shopping.WebShop()
GOAL = our_shop.goals()[0]


def scores(results):
  return {(one.status, one.score) for one in results.values()}


def visited(*actions):
  """The pages that an agent sees after each action."""
  with SHOP.open(SHOP.tasks()[0]) as opened:
    return [
      opened.act(f'Action:\n{action}', ()).observation for action in actions
    ]


def test_there_are_a_few_hundred_products_and_different_goals():
  found = our_shop.products()
  assert len(found) == 300
  assert len({one.name for one in found}) == 300
  assert len({one.instruction for one in our_shop.goals()}) == 40


def test_the_oracle_solves_every_task():
  results = scripts.oracle_played(SHOP)
  assert len(results) == 40
  assert scores(results) == {('completed', 1.0)}


@pytest.mark.parametrize(
  'agent, status',
  [
    (scripts.always('Action:\nclick[nothing]'), 'task limit reached'),
    (scripts.always('Action:\nclick[Buy Now]'), 'task limit reached'),
    (scripts.always('Action: search[tent]'), 'task limit reached'),
    (scripts.always('I buy it.'), 'agent validation failed'),
    (scripts.always(''), 'agent validation failed'),
    (scripts.crashing, 'unknown'),
  ],
)
def test_who_does_nothing_useful_scores_nothing(agent, status):
  results = scripts.played(SHOP, agent, SHOP.tasks()[:6])
  assert scores(results) == {(status, 0.0)}


def test_pages_are_webshops():
  name, title = GOAL.product.name, GOAL.product.title
  results, product, features, back, start = visited(
    f'search[{title}]',
    f'click[{name}]',
    'click[Features]',
    'click[< Prev]',
    'click[Back to Search]',
  )
  head = f'Observation:\nInstruction: [SEP] {GOAL.instruction} [SEP] Back to'
  assert results.startswith(
    f'{head} Search [SEP] Page 1 (Total results: 50) [SEP] Next > [SEP] '
  )
  assert f'{name} [SEP] {title} [SEP] ${GOAL.product.price:.2f}' in results
  assert f'Price: ${GOAL.product.price:.2f} [SEP] Rating: N.A.' in product
  assert '"has_search_bar": false' in product and '"buy now"' in product
  assert GOAL.product.features[0] in features
  assert back == product
  assert '"has_search_bar": true' in start


def test_results_are_turned_page_by_page():
  first, second, again = visited(
    'search[waterproof]', 'click[Next >]', 'click[< Prev]'
  )
  assert 'Page 2' in second and first == again and first != second


@pytest.mark.parametrize(
  'action',
  [
    'click[Next >]',
    'click[S0000000]',
    'click[search]',
    'search[ ]',
  ],
)
def test_an_action_that_the_page_lacks_does_nothing(action):
  (page,) = visited(action)
  assert 'WebShop [SEP] Instruction:' in page


@pytest.mark.parametrize('words', ['"', 'a OR (', '*', "'; drop table shop"])
def test_a_search_is_words_and_nothing_else(words):
  web_shopping.search(words)
  assert web_shopping.search('tent')


def test_a_purchase_is_worth_what_it_has_of_what_was_wanted():
  product, goal = GOAL.product, GOAL
  number = len(goal.attributes) + len(goal.options) + 1
  assert web_shopping.reward(product, goal.options, goal) == 1.0
  without = web_shopping.reward(product, {}, goal)
  assert without == pytest.approx(1 - len(goal.options) / number)
  dear = dataclasses.replace(product, price=9999.0)
  assert web_shopping.reward(dear, goal.options, goal) == pytest.approx(
    1 - 1 / number
  )
  plain = dataclasses.replace(product, attributes=())
  assert web_shopping.reward(plain, goal.options, goal) == pytest.approx(
    1 - len(goal.attributes) / number
  )
  other = dataclasses.replace(product, title='Nothing', category='x')
  assert web_shopping.reward(other, goal.options, goal) == 0.0


def test_options_are_forgotten_with_the_product():
  steps = [f'search[{GOAL.product.title}]', f'click[{GOAL.product.name}]']
  chosen = [f'click[{value}]' for value in GOAL.options.values()]
  said = itertools.chain(
    [*steps, *chosen, 'click[< Prev]', steps[1], 'click[Buy Now]']
  )

  def agent(asked):
    return scripts.always(f'Action:\n{next(said)}')(asked)

  results = scripts.played(SHOP, agent, SHOP.tasks()[:1])
  (one,) = results.values()
  assert one.status == 'completed' and 0 < one.score < 1


def test_a_score_in_our_shop_is_not_agentbenchs():
  data = SHOP.identity()['data']
  assert agent_bench.called('ws', data) == 'ws_on_tasks_of_ours'


def test_the_docstring_holds():
  reply = 'Thought:\nThat one.\n\nAction:\nclick[Buy Now]'
  assert web_shopping.parse(reply) == ('That one.', 'click', 'Buy Now')
  assert web_shopping.parse('buy it') == ('', '', '')
