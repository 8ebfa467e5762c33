"""Pieces of HTML that the sections of the page are made of."""

import html

from hephaestus_jax.report import plots


def not_run(what: str) -> str:
  """What stands in the place of something that was not run."""
  return f'<p class="not-run">{what}: not run.</p>'


def figure(
  drawings: dict[str, plots.Drawing], name: str, caption: str, wide: str = ''
) -> str:
  """A figure with its caption; `wide` is the class of one that may scroll."""
  if name not in drawings:
    return not_run(name.replace('_', ' ').capitalize())
  return (
    f'<figure class="{wide or "half"}">\n{drawings[name].svg}\n'
    f'<figcaption>{caption}</figcaption>\n</figure>'
  )


def pair(*parts: str) -> str:
  """Side by side where there is room."""
  return (
    '<div class="pair">\n'
    + '\n'.join(f'<div>{part}</div>' for part in parts)
    + '\n</div>'
  )


def or_not_run(part: str | None, what: str) -> str:
  """A part, or that it was not run."""
  return not_run(what) if part is None else part


def details(title: str, content: str | None) -> str:
  """A part that is folded away; nothing if there is no content."""
  if content is None:
    return ''
  return (
    f'<details>\n<summary>{html.escape(title)}</summary>\n{content}\n</details>'
  )
