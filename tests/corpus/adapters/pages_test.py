"""Pages become their words, however they are marked up."""

import re
import time

import pytest

from hephaestus_jax.corpus.adapters import entry, pages


def words(text: str, mapping=pages.html) -> str:
  (segment,) = mapping({'path': 'page', 'text': text})
  return segment.text


def reason(mapping, record) -> str:
  with pytest.raises(entry.MalformedError) as raised:
    mapping(record)
  return raised.value.reason


PAGE = """<!DOCTYPE html><html><head><title>Not shown</title>
<style>p { color: red }</style></head><body><nav><a href="/">Home</a></nav>
<h1>tea.brew<a class="headerlink" href="#b">&para;</a></h1>
<p>Brews   <b>tea</b> for
&lt;n&gt; people.<br>Slowly.</p>
<table><tr><th>Name</th><th>Type</th></tr>
<tr><td><code>n</code></td><td>int</td></tr></table>
<ul><li>green</li><li>black</li></ul>
<pre><span>&gt;&gt;&gt; brew(2)
</span>  'two  cups'
</pre><script>alert(1)</script></body></html>"""


def test_a_page_is_read_block_by_block():
  assert words(PAGE) == (
    'tea.brew\n\n'
    'Brews tea for <n> people.\nSlowly.\n\n'
    'Name\tType\nn\tint\n\n'
    'green\nblack\n\n'
    ">>> brew(2)\n  'two  cups'"
  )


def test_nothing_is_put_in_that_the_page_does_not_say():
  bare = re.sub('<[^>]*>', '', PAGE).replace('&gt;', '>').replace('&lt;', '<')
  for line in words(PAGE).splitlines():
    for cell in line.split('\t'):
      assert ''.join(cell.split()) in ''.join(bare.split())


def test_a_formula_is_its_tex():
  page = (
    '<p>So <span class="katex"><math><semantics><mrow><msub><mi>y</mi><mn>10'
    '</mn></msub></mrow><annotation encoding="application/x-tex">y_{10}'
    '</annotation></semantics></math><span class="katex-html">y10</span></span>'
    ' is.</p>'
  )
  assert words(page) == 'So y_{10} is.'


def test_what_a_page_says_of_its_encoding_is_past():
  assert words('<meta charset="latin-1"><p>Zürich</p>') == 'Zürich'
  book = '<?xml version="1.0" encoding="ISO-8859-1"?><para>Zürich</para>'
  assert words(book, pages.cnxml) == 'Zürich'


def test_a_book_keeps_the_lines_of_its_code():
  module = (
    '<document xmlns="http://cnx.rice.edu/cnxml" '
    'xmlns:m="http://www.w3.org/1998/Math/MathML"><title>Tea</title>'
    '<metadata><uuid>1-2</uuid></metadata><content><section>\n'
    '<para>Print <code>"tea"</code>, <term>hot</term>.</para> '
    '<code>\nfor i in tea:<newline/>\n  print(i)</code>'
    '<list><item>one</item><item>two</item></list>'
    '<table><row><entry>a</entry><entry>b</entry></row></table>'
    '<para><m:math><m:mi>x</m:mi><m:mo>+</m:mo><m:mn>1</m:mn></m:math></para>'
    '</section></content></document>'
  )
  assert words(module, pages.cnxml) == (
    'Tea\n\nPrint "tea", hot.\n\nfor i in tea:\n  print(i)\n\n'
    'one\ntwo\n\na\tb\n\nx+1'
  )


def test_pages_that_cannot_be_read_have_their_reason():
  assert reason(pages.html, {'text': '<script>1</script>'}) == 'no_words'
  assert reason(pages.html, {'text': '<p>\ud800</p>'}) == 'not_unicode'
  assert reason(pages.cnxml, {'text': '<para>'}) == 'not_xml'
  assert reason(pages.cnxml, {'text': 'plain'}) == 'not_xml'
  assert reason(pages.page, {'text': ''}) == 'empty_text'


def test_a_book_reads_no_file_and_grows_no_entity():
  outside = (
    '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/hostname">]><para>x&a;y</para>'
  )
  assert words(outside, pages.cnxml) == 'xy'
  inner = ''.join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
  bomb = f'<!DOCTYPE d [<!ENTITY e0 "ha">{inner}]><para>&e9;</para>'
  assert reason(pages.cnxml, {'text': bomb}) == 'not_xml'


@pytest.mark.parametrize(
  'text',
  (
    '<div>' * 100_000 + 'x',
    'x' + '<b>' * 100_000,
    'x' + '<!--' * 100_000,
    'x<' * 100_000,
    'x&' * 100_000,
    '<p ' + 'a=b ' * 100_000 + '>x',
    '<table>' * 100_000 + 'x',
    'x</p>' * 100_000,
  ),
  ids=('deep', 'open', 'comment', 'lt', 'amp', 'attributes', 'tables', 'end'),
)
def test_a_hostile_page_costs_no_more_than_its_length(text):
  started = time.process_time()
  assert 'x' in words(text)
  assert time.process_time() - started < 5


def test_crawled_pages_are_told_from_the_archives_own_records():
  fetched = {'type': 'response', 'content_type': 'text/html; charset=utf-8'}
  (segment,) = pages.crawled(fetched | {'text': '<p>Tea</p>'})
  assert (segment.role, segment.text) == ('text', 'Tea')
  (segment,) = pages.extracted({'type': 'conversion', 'text': 'Tea\nHot'})
  assert (segment.role, segment.text) == ('text', 'Tea\nHot')
  picture = {'type': 'response', 'content_type': 'image/png', 'text': 'x'}
  assert reason(pages.crawled, picture) == 'not_a_page'
  assert reason(pages.crawled, {'type': 'warcinfo'}) == 'not_a_page'
  assert reason(pages.extracted, {'type': 'warcinfo'}) == 'not_a_page'
