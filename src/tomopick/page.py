"""The parts that a page of HTML is made of: it carries all that it shows, asks for nothing, and prints well."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import IO

import pandas as pd

from tomopick.layout import SCRIPT, SCRIPT_HASH

__all__ = ["data_table", "drawing", "paragraph", "section", "whole_page", "word_table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2125; --soft: #5c6670; --line: #dfe3e7; --paper: #ffffff; --band: #f5f7f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ae; --line: #343a40; --paper: #16191c; --band: #1f2428; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
.score { font-size: 2.4rem; font-weight: 600; line-height: 1.1; margin: 0.5rem 0 0; }
.score small { display: block; font-size: 0.95rem; font-weight: 400; line-height: 1.4; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
tr { background: var(--paper); }
th:first-child { position: sticky; left: 0; padding-left: 0; background: inherit; text-align: left; }
tbody tr:hover { background: var(--band); }
table.words { table-layout: fixed; width: 100%; }
table.words :is(th, td) { text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; }
table.words th:first-child { width: 40%; }
table.total tbody tr:last-child { font-weight: 600; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; padding: 6px; }
canvas { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; touch-action: none; }
figcaption, footer, .note { color: var(--soft); font-size: 0.85rem; margin-top: 0.4rem; }
footer { margin-top: 3rem; }
@media print {
  :root { color-scheme: light; --ink: #000000; --soft: #444444; --line: #cccccc; --paper: #ffffff; --band: #ffffff; }
  html { font-size: 12px; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  .scroll { overflow: visible; }
  th, td { padding: 0.2rem 0.35rem; font-size: 0.8rem; }
  th:first-child { position: static; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  figure img { max-height: 20cm; }
}
"""

# No request, and no script but one: the page shows only what it carries.
_POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'"


def whole_page(title: str, sections: Sequence[str]) -> str:
    """The page of these sections, which are HTML; all other text is escaped here and below."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
    )
    body = "\n".join(sections)
    main = f"<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n<footer>Made by tomopick.</footer>"
    script = f"<script>{SCRIPT}</script>\n" if "<canvas" in body else ""
    return f"{head}<body>\n{main}\n{script}</body>\n</html>\n"


def section(heading: str, *parts: str) -> str:
    """A section of these parts, which are HTML."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(words: str) -> str:
    """Words as a paragraph."""
    return f"<p>{escape(words)}</p>"


def data_table(frame: pd.DataFrame, kind: str = "") -> str:
    """The frame, whose cells are text, as an HTML table that scrolls sideways on a narrow screen."""
    return f'<div class="scroll">{frame.to_html(escape=True, border=0, classes=kind.split())}</div>'


def drawing(draw: Callable[[IO[bytes]], str], alt: str) -> str:
    """What ``draw`` writes as PNG, embedded, with the caption that it returns."""
    image = BytesIO()
    caption = draw(image)
    source = f"data:image/png;base64,{b64encode(image.getvalue()).decode()}"
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'


def word_table(rows: Mapping[str, str], heading: str) -> str:
    """A table of two columns of words."""
    frame = pd.DataFrame({"value": list(rows.values())}, index=list(rows)).rename_axis(columns=heading)
    with pd.option_context("display.max_colwidth", None):
        return data_table(frame, "words")
