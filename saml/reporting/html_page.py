"""The frame of every HTML page: one style, readable on a phone, tables that sort, nothing from elsewhere."""

import html
from collections.abc import Iterable

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 1.2rem auto; }
body { max-width: 80rem; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; }
p, li { max-width: 46rem; } p { margin: .3rem 0; } .note { color: #555; font-size: .9rem; }
a { color: #005a92; } img { max-width: 100%; height: auto; }
code { background: #f2f2f2; padding: .1em .3em; border-radius: .2em; overflow-wrap: anywhere; }
.table { overflow: auto; max-height: 90vh; max-width: 100%; width: fit-content; margin: .4rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e6e6; }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; }
th { border-bottom: 2px solid #333; vertical-align: bottom; position: sticky; top: 0; background: #fff; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; } th:first-child { z-index: 1; }
thead th { white-space: normal; } tbody tr:hover td { background: #f5f5f5; }
.sortable th { cursor: pointer; } .sortable th:hover, .sortable th:focus { background: #eef4f8; }
th[aria-sort=ascending]::after { content: " \\25b2"; } th[aria-sort=descending]::after { content: " \\25bc"; }
"""

# A click on a heading sorts by its column, a second one the other way round. Cells are compared by the number
# that they begin with, of a column without any by their text; cells without a number come last.
SORT = """
for (const head of document.querySelectorAll(".sortable th")) {
  head.tabIndex = 0;
  head.title = "sort by this column";
  const sort = () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0], rows = [...body.rows];
    const text = row => row.cells[head.cellIndex].textContent.trim();
    const numbers = rows.some(row => !isNaN(parseFloat(text(row))));
    const compare = (a, b) => {
      const x = parseFloat(a), y = parseFloat(b);
      if (!numbers) return up ? a.localeCompare(b) : b.localeCompare(a);
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return up ? x - y : y - x;
    };
    body.append(...rows.sort((a, b) => compare(text(a), text(b))));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => event.key === "Enter" && sort());
}
"""


def document(title: str, body: Iterable[str], style: str = "") -> bytes:
    """A page: `title` as text, `body` as HTML, further rules of `style`."""
    name = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{style}</style></head>\n<body>{''.join(body)}\n<script>{SORT}</script></body></html>\n"
    ).encode()


def table(rows: Iterable[Iterable[str]], heads: Iterable[str]) -> str:
    """A table that sorts; heads are text, cells HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return in_frame(f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def in_frame(content: str) -> str:
    """A table in a frame of its own, which scrolls where the page is too narrow."""
    return f'<div class="table">{content}</div>'
