"""Manual pages in man and mdoc, golden pages of both."""

import pytest

from hephaestus_jax.corpus.adapters import entry, manual, roff

MAN = r"""
.\" A comment
.de FN
\fI\\$1\fP
..
.ds PO teapot
.TH POUR 1 "2026-01-01" "tea 1.0" "User Commands"
.SH NAME
pour \- pour tea from a \*(PO
.SH SYNOPSIS
.B pour
[\fI\,OPTION\/\fR]... \fICUP\fR
.SH DESCRIPTION
.PP
Pours tea \(em hot \(em into
.BR cup (1).
.TP
\fB\-s\fR, \fB\-\-strength\fR=\fIN\fR
strength of the tea:
.RS
.IP 1 4
weak
.IP 2
strong
.RE
.TP
.B \-\-cold
let it wait
.if n \{\
.PP
Options end here.
.\}
.ie t .PP
.el Reads
.FN ~/.tea
first.
.SH EXAMPLES
.nf
$ pour \-s 2 cup
  poured
.fi
.SH "EXIT STATUS"
.IP 0
poured
.IP 1
spilt
.SH AUTHOR
Written by nobody.
"""
MAN_PAGE = """\
**API: pour**

pour tea from a teapot

Pours tea — hot — into cup(1).

Options end here. Reads ~/.tea first.

**Parameters**

- -s, --strength=N (optional): strength of the tea:
    - 1: weak
    - 2: strong
- --cold (optional): let it wait

**Synopsis**

```
pour [OPTION]... CUP
```

**Examples**

```
$ pour -s 2 cup
  poured
```

**Exit status**

- 0: poured
- 1: spilt"""

MDOC = r"""
.Dd January 1, 2026
.Dt POUR 1
.Os
.Sh NAME
.Nm pour
.Nd pour tea
.Sh SYNOPSIS
.Nm
.Op Fl s Ar strength
.Ar cup ...
.Sh DESCRIPTION
The
.Nm
utility pours tea into a
.Ar cup ,
see
.Xr kettle 8 .
.Pp
The options are as follows:
.Bl -tag -width Ds
.It Fl s Ar strength
Strength of the tea.
.Pp
Default is
.Dq weak .
.It Fl c Ns = Ns Ar n
Counts.
.El
.Sh EXAMPLES
.Bd -literal
$ pour cup
.Ed
"""
MDOC_PAGE = """\
**API: pour**

pour tea

The pour utility pours tea into a cup, see kettle(8).

The options are as follows:

**Parameters**

- -s strength (optional): Strength of the tea.
    Default is "weak".
- -c=n (optional): Counts.

**Synopsis**

```
pour [-s strength] cup ...
```

**Examples**

```
$ pour cup
```"""


def read(
  source: str | bytes, path: str = 'man1/pour.1.gz'
) -> list[entry.Entry | entry.Flaw]:
  content = source.encode() if isinstance(source, str) else source
  return list(manual.manual(path, content))


@pytest.mark.parametrize(
  ('source', 'page'), [(MAN, MAN_PAGE), (MDOC, MDOC_PAGE)]
)
def test_a_manual_becomes_a_page(source: str, page: str) -> None:
  (found,) = read(source)
  assert isinstance(found, entry.Entry)
  assert found.segments[0].text == page
  assert found.segments[0].role == 'documentation'
  assert (found.group, found.name) == ('man-pour', 'man1/pour.1.gz')


def test_programs_with_one_name_have_one_group() -> None:
  groups = {
    read(MAN, path)[0].group
    for path in ('man1/git.1', 'man1/git-add.1', 'man7/git.lfs.7')
  }
  assert groups == {'man-git'}


def test_another_name_of_a_page_is_an_alias() -> None:
  assert read('.so man1/pour.1\n', 'man1/serve.1') == [
    entry.Flaw('man-serve', 'man1/serve.1', 'alias')
  ]


@pytest.mark.parametrize(
  ('source', 'reason'),
  [
    ('', 'no_manual_page'),
    ('Just words.', 'no_manual_page'),
    ('.TH A 1\n.SH DESCRIPTION\nWords.', 'no_name'),
    ('.TH A 1\n.SH NAME\na \\- b\n', 'too_short'),
  ],
)
def test_a_page_that_is_none_has_a_reason(source: str, reason: str) -> None:
  with pytest.raises(entry.MalformedError) as raised:
    read(source)
  assert raised.value.reason == reason


def test_a_page_in_latin_1_is_read() -> None:
  (found,) = read(MAN.replace('tea from', 'café from').encode('latin-1'))
  assert isinstance(found, entry.Entry)
  assert 'pour café from a teapot' in found.segments[0].text


def test_macros_strings_and_arguments() -> None:
  assert list(roff.lines('.ds P teapot\n.B \\*P\npours \\(em \\fIhot\\fR')) == [
    roff.Line('B', ('teapot',)),
    roff.Line('', ('pours — hot',)),
  ]
  assert roff.split('-a "b c" d') == ['-a', 'b c', 'd']
  assert roff.split('"say ""tea""" a\\ b') == ['say "tea"', 'a\\ b']


@pytest.mark.parametrize(
  ('escaped', 'plain'),
  [
    (r'\fBbold\fP \f(CWcode\fR \f[B]b\f[]', 'bold code b'),
    (r'\-\-all\&.', '--all.'),
    (r'\s-1small\s0 \s+2big\s0', 'small big'),
    (r"\h'2n'\v'1'move", 'move'),
    (r'a\~b\ c\|d\^e', 'a b cde'),
    (r'\(aqx\(aq \[u00E9] \[em]', "'x' é —"),
    (r'back\e slash\(rs', 'back\\ slash\\'),
    (r'\*(XX\*[none]\n(.H\w"x"', ''),
    (r'end\c', 'end'),
    ('tail\\', 'tail'),
  ],
)
def test_escapes_become_characters(escaped: str, plain: str) -> None:
  (found,) = roff.lines(escaped)
  assert found.arguments[0].rstrip('"x') == plain.rstrip('"x')


@pytest.mark.parametrize(
  'hostile',
  [
    '.de A\n.A\n.A\n..\n.A\n',
    '.de A\n.A \\\\$1\\\\$1\n..\n.A xxxxxxxx\n',
    '.ds a xxxxxxxxxx\n' + '.ds a \\*a\\*a\n' * 200 + '\\*a' * 3_000,
    '.if n \\{\\\n' * 5_000,
    '.' + 'if n .' * 50_000,
    '.RS\n.IP x\ny\n' * 5_000,
  ],
)
def test_a_page_that_computes_without_end_ends(hostile: str) -> None:
  (found,) = read(MAN + hostile)
  assert len(found.segments[0].text) < 3_000_000
