"""Pages in a browser: tables sort by a click, and a phone's width is enough."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from saml.reporting.html_page import document, table
from saml.reporting.pages import write_page
from saml.reporting.sentences import STYLE, article

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# The first column after clicks on the headings.
SORTED = """
const heads = [...document.querySelectorAll("th")];
const first = () => [...document.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent);
const found = clicks.map(place => { heads[place].click(); return first(); });
"""
WIDE_PICTURE = "data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 width=%222000%22/%3E"
# What a page needs beyond the width of a phone.
WIDE = """
Object.assign(document.body.style, {width: "390px", boxSizing: "border-box", margin: 0});
const found = document.body.scrollWidth;
"""


def in_browser(path: Path, script: str) -> Any:
    """The value of `found` after the script has run in the page."""
    if BROWSER is None:
        pytest.skip("no chromium on PATH to open the page in")
    show = 'document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";'
    copy = path.with_name("opened.html")
    text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{{{script}{show}}}</script></body>")
    copy.write_text(text, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent / 'profile'}"]
    command = [BROWSER, *options, "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    content = re.search("<pre>(.*?)</pre>", dom, re.DOTALL)
    assert content, "the script did not come to its end"
    return json.loads(html.unescape(content.group(1)))


def test_a_click_sorts_by_numbers_or_by_text(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "arm": ["saml", "fp32", "pqm", "nf4"],
            "WER, %": ["10.1", "9.5", "100.0", "-"],
            "reduction": ["3.0 [1.0, 5.0]", "-20.0 [-30.0, -1.0]", "2.5 [-1.0, 4.0]", "-"],
        }
    )
    path = tmp_path / "page.html"
    write_page(path, "A page", "A note", {"": rows}, rows)
    by_rate, back, by_reduction, by_name = in_browser(path, f"const clicks = [1, 1, 2, 0];{SORTED}")
    assert by_rate == ["fp32", "saml", "pqm", "nf4"]
    assert back == ["pqm", "saml", "fp32", "nf4"], "cells without a number stay last"
    assert by_reduction == ["fp32", "pqm", "saml", "nf4"]
    assert by_name == ["fp32", "nf4", "pqm", "saml"]


def test_a_phone_is_wide_enough(tmp_path: Path) -> None:
    """Tables of many columns, long words, a player and a picture: none of them widens the page."""
    heads = [f"column {number}" for number in range(20)]
    long = "antidisestablishmentarianism" * 4
    body = [
        "<h1>speechocean762-whisper-all-arms-of-everybody</h1>",
        f"<p><code>{long}</code></p>",
        table([["1234567"] * 20], heads),
        article("heading", long, [("before", long), ("after", "text")], "sound.flac", "whisper"),
        f"<img src='{WIDE_PICTURE}'>",
    ]
    path = tmp_path / "page.html"
    path.write_bytes(document("A page", body, STYLE))
    assert in_browser(path, WIDE) == 390
