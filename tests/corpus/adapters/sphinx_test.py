"""Sphinx pages in both forms, golden pages, and signatures."""

import pytest

from hephaestus_jax.corpus.adapters import entry, signatures, sphinx, tool

PROSE = 'Teapots hold tea and pour it when they are asked to do so. ' * 5
RST = f"""\
:mod:`tea` --- Making tea
=========================

.. module:: tea
   :synopsis: Tea.

{PROSE}

.. function:: pour(cup, *, strength=1)
              pour(cups)

   Pour tea into a *cup*, and return what is left in the :class:`Pot`.

   :param cup: Where to.
   :type cup: Cup
   :returns: Litres that are left.

.. class:: Pot(size)

   A pot of a certain size, with ``lid`` and handle, for two or more guests.

   .. method:: fill(water)

      Fill the pot up to its brim with hot water, and put the lid upon it.

   .. attribute:: Pot.full

.. function:: nothing()
"""
POUR = """\
**API: tea.pour**

```python
pour(cup, *, strength=1)
pour(cups)
```

Pour tea into a *cup*, and return what is left in the `Pot`.

**Parameters**

- cup (Cup, required): Where to.
- strength (optional): Default: 1.

**Returns**

Litres that are left."""

HTML = f"""<!DOCTYPE html><html><head><meta charset="utf-8"><title>tea</title>
<script>var a = '<p>';</script></head><body><nav><a href="x">Menu</a></nav>
<div role="main"><h1>Tea<a class="headerlink" href="#tea">¶</a></h1>
<p>{PROSE}</p>
<dl class="py class"><dt class="sig sig-object py" id="tea.Pot">
<em class="property">class </em><span class="descname">Pot</span>(<em>size</em>)
<a class="headerlink" href="#tea.Pot">¶</a></dt>
<dd><p>A pot of a certain <code><span>size</span></code>, with lid and
handle.</p>
<div class="highlight"><pre>&gt;&gt;&gt; Pot(2)
Pot(2)
</pre></div>
<dl class="field-list simple"><dt class="field-odd">Parameters</dt>
<dd class="field-odd"><ul class="simple"><li><p><strong>size</strong>
(<em>int</em>, <em>optional</em>) – Litres. Default: 1</p></li></ul></dd>
<dt class="field-even">Raises</dt><dd class="field-even"><p>SpillError –
when it is full</p></dd></dl>
<dl class="py method"><dt id="tea.Pot.fill">fill(<em>water</em>)</dt>
<dd><p>Fill the pot up to its brim with hot water, and put the lid on it.</p>
<ul><li>slowly</li><li>with care</li></ul></dd></dl></dd></dl>
</div><footer>Nobody, 2026</footer></body></html>"""
POT = """\
**API: tea.Pot**

```python
class Pot(size)
```

A pot of a certain `size`, with lid and handle.

**Parameters**

- size (int, required): Litres. Default: 1.

**Raises**

SpillError – when it is full

**Example**

```python
>>> Pot(2)
Pot(2)
```"""


def read(path: str, content: str) -> dict[str, entry.Entry | entry.Flaw]:
  return {
    found.name: found for found in sphinx.definitions(path, content.encode())
  }


def text(found: entry.Entry | entry.Flaw) -> str:
  assert isinstance(found, entry.Entry), found
  return found.segments[0].text


def test_a_source_becomes_a_page_per_definition() -> None:
  found = read('library/tea.rst.txt', RST)
  assert list(found) == [
    'library/tea/tea.pour',
    'library/tea/tea.Pot',
    'library/tea/tea.Pot.fill',
    'library/tea/tea.Pot.full',
    'library/tea/tea.nothing',
    'library/tea',
  ]
  assert text(found['library/tea/tea.pour']) == POUR
  assert 'Fill the pot' not in text(found['library/tea/tea.Pot'])
  assert text(found['library/tea']).endswith(PROSE.strip())
  for name in ('tea.Pot.full', 'tea.nothing'):
    flaw = entry.Flaw('tea', f'library/tea/{name}', 'too_short')
    assert found[f'library/tea/{name}'] == flaw


def test_a_page_of_html_becomes_a_page_per_definition() -> None:
  found = read('tea.html', HTML)
  assert list(found) == ['tea/tea.Pot', 'tea/tea.Pot.fill', 'tea']
  assert text(found['tea/tea.Pot']) == POT
  assert '- slowly\n- with care' in text(found['tea/tea.Pot.fill'])
  assert text(found['tea']) == f'# Tea\n\n{PROSE.strip()}'
  assert found['tea'].group == 'tea'


def test_a_page_without_definitions_is_its_prose() -> None:
  found = read('guide.html', f'<p>{PROSE}</p><pre>a\n  b</pre><p>End.</p>')
  assert text(found['guide']) == f'{PROSE.strip()}\n\n```\na\n  b\n```\n\nEnd.'


def test_names_that_stand_twice_are_told_apart() -> None:
  body = (
    '\n\n   ' + 'It pours, and pours, and never stops to pour. ' * 3 + '\n\n'
  )
  found = read('a.rst', f'.. function:: f(x){body}.. function:: f(x, y){body}')
  assert list(found) == ['a/f', 'a/f#1', 'a']


@pytest.mark.parametrize(
  ('path', 'content', 'reason'),
  [
    ('a.rst', b'\xff', 'not_utf8'),
    ('a.html', b'', 'empty_page'),
    ('a.html', b'<!-- -->', 'not_html'),
  ],
)
def test_a_page_that_cannot_be_read_has_a_reason(
  path: str, content: bytes, reason: str
) -> None:
  with pytest.raises(entry.MalformedError) as raised:
    list(sphinx.definitions(path, content))
  assert raised.value.reason == reason


@pytest.mark.parametrize(
  'content',
  [
    b'<p>a\x00b&#1;c\x0b</p>',
    b'<meta charset="klingon"><p>x</p>',
    b'<?xml version="1.0" encoding="latin-1"?><p>x</p>',
    b'<div>' * 20_000,
    b'<dl class="function"><dt id="a">f</dt><dd>' * 500,
  ],
)
def test_odd_html_is_read(content: bytes) -> None:
  assert list(sphinx.definitions('a.html', content))


def test_the_parameters_of_signatures() -> None:
  parameter = tool.Parameter
  assert signatures.parameters(
    'heappush(heap, item, /, *, key: str = None)'
  ) == (
    parameter('heap', required=True),
    parameter('item', required=True),
    parameter('key', 'str', default='None'),
  )
  assert signatures.parameters('range(start, stop[, step])') == (
    parameter('start', required=True),
    parameter('stop', required=True),
    parameter('step'),
  )
  assert signatures.parameters('f(self, *args, **kw)') == (
    parameter('*args'),
    parameter('**kw'),
  )
  assert signatures.parameters('constant') == ()
  assert signatures.parameters('f(' + '(' * 4_000 + ')') == ()
  assert signatures.described(
    'f(a, b=1)', (parameter('b', 'int', 'Slow.'),)
  ) == (
    parameter('a', required=True),
    parameter('b', 'int', 'Slow.', default='1'),
  )
