"""A report as plain content, written once and rendered twice: Markdown for a terminal, one HTML page for a browser."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; `code` between backticks and **bold** are the only marks."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; all but the first `left` columns are numbers, set on the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A drawing. Markdown links to `figures/<name>.svg`, HTML holds it."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Paragraph | Table | Picture]


@dataclass(frozen=True)
class Document:
    """A title, and sections in order."""

    title: str
    sections: Sequence[Section]


def markdown_table(table: Table) -> str:
    """The table in GitHub's Markdown, columns aligned so that a terminal shows it well too."""
    rows = [[_markdown_cell(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(_width(row[i]) for row in rows)) for i in range(len(table.header))]
    lines = []
    for row in rows:
        cells = [_pad(cell, widths[i], right=i >= table.left) for i, cell in enumerate(row)]
        lines.append("| " + " | ".join(cells) + " |")
    rules = ["-" * width if i < table.left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([lines[0], "| " + " | ".join(rules) + " |", *lines[1:]])


def to_markdown(document: Document) -> str:
    """The document as Markdown; pictures are links to `figures/<name>.svg`."""
    parts = [f"# {document.title}"]
    for section in document.sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            if isinstance(block, Paragraph):
                parts.append(block.text)
            elif isinstance(block, Picture):
                parts.append(f"![{block.caption}](figures/{block.name}.svg)\n\n*{block.caption}*")
            else:
                parts.append(markdown_table(block) + (f"\n\n*{block.caption}*" if block.caption else ""))
    return "\n\n".join(parts) + "\n"


def to_html(document: Document) -> str:
    """The document as one HTML page that fetches nothing."""
    body = [f"<h1>{html.escape(document.title)}</h1>"]
    for section in document.sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [_html_block(block) for block in section.blocks]
    return _PAGE.replace("{title}", html.escape(document.title)).replace("{body}", "\n".join(body))


def _html_block(block: Paragraph | Table | Picture) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Picture):
        caption = _inline(block.caption)
        label = html.escape(block.caption, quote=True)
        return f'<figure role="img" aria-label="{label}">{block.svg}<figcaption>{caption}</figcaption></figure>'
    head = _html_row("th", block.header, block.left)
    rows = "\n".join(_html_row("td", row, block.left) for row in block.rows)
    caption = f"<caption>{_inline(block.caption)}</caption>" if block.caption else ""
    return f'<div class="wide"><table>{caption}<thead>{head}</thead><tbody>\n{rows}\n</tbody></table></div>'


def _html_row(tag: str, cells: Sequence[str], left: int) -> str:
    marks = [f"<{tag}>" if i < left else f'<{tag} class="number">' for i in range(len(cells))]
    return "<tr>" + "".join(f"{mark}{_inline(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True)) + "</tr>"


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if not unicodedata.combining(c))


def _pad(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .25rem; }
p { max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; color: #555; padding-top: .4rem; max-width: 46rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #888; }
.number { text-align: right; }
td.number { white-space: nowrap; }
code { font-size: .86em; background: #f4f4f4; padding: .05em .3em; border-radius: 3px; overflow-wrap: anywhere; }
figure { margin: 1.4rem 0; }
figure svg { width: 100%; height: auto; }
figcaption { font-size: .88rem; color: #555; max-width: 46rem; }
</style>
</head>
<body>
{body}
</body>
</html>
"""
