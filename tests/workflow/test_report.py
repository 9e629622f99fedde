"""The report in a browser: a person reaches its tables and figures by clicking, and captions are there."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.workflow_project import ROOT, Project

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Opens each folder of the menu in turn and notes what stands in it, then asks for the first caption.
CLICKS = """<script>
window.addEventListener("load", async () => {
  const wait = () => new Promise(done => setTimeout(done, 100));
  const home = () => app.setView({navbarMode: "menu"});
  const seen = {};
  await wait();
  const menu = () => [...document.querySelectorAll("li > a > span")];
  const folders = menu().map(one => one.textContent);
  for (const folder of folders.filter(name => /^[0-9] /.test(name))) {
    menu().find(one => one.textContent === folder).parentElement.click();
    await wait();
    seen[folder] = [...document.querySelectorAll("tbody tr td:first-child")].map(one => one.textContent);
    if (!seen.caption) {
      [...document.querySelectorAll("tbody tr td:last-child a, tbody tr td:last-child button")][1].click();
      await wait();
      seen.caption = document.querySelector(".prose-invert").textContent;
    }
    home();
    await wait();
  }
  seen.start = document.querySelector(".prose").textContent;
  document.body.innerHTML = "<pre id='seen'></pre>";
  document.querySelector("#seen").textContent = JSON.stringify(seen);
});
</script>"""


@pytest.fixture(scope="module")
def seen(first_run: tuple[Project, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a browser shows of the report of a finished project, by folder of its menu."""
    if BROWSER is None:
        pytest.skip("no chromium on PATH to open the report in")
    folder = tmp_path_factory.mktemp("report")
    project = first_run[0].copy(folder / "project")
    made = project.snakemake("all", "--report", "report.html", "--cores", "1")
    assert made.status == 0, made.text
    written = (project.folder / "results/test/pages/key.html").read_text(encoding="utf-8")
    head, _, tail = (project.folder / "report.html").read_text(encoding="utf-8").rpartition("</body>")
    (folder / "clicked.html").write_text(f"{head}{CLICKS}</body>{tail}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [BROWSER, *options, "--virtual-time-budget=20000", "--dump-dom", str(folder / "clicked.html")]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the clicks did not come to their end"
    key = {"key": " ".join(written.split())}
    parameters = re.findall(r'"params": "((?:[^"\\]|\\.)*)"', head)
    return {**json.loads(html.unescape(found.group(1))), **key, "parameters": parameters}


@pytest.mark.slow
def test_tables_and_figures_are_reached_by_clicking(seen: dict[str, list[str]]) -> None:
    assert {folder: sorted(names) for folder, names in seen.items() if folder[0].isdigit()} == {
        "1 Word error rates": [
            "Figure: WER against size",
            "Figure: WER by arm",
            "Figure: reductions between arms",
            "Key number and figure",
            "Table: arms in pairs",
            "Table: beside the published figures",
            "Table: summary by arm",
        ],
        "2 Speakers": [
            "Figure: WER by speaker and arm",
            "Figure: before and after adaptation",
            "Table: by speaker and arm, with intervals",
            "Table: counts by speaker, arm and seed",
        ],
        "3 Kinds of error": ["Figure: by arm", "Table: by arm"],
        "5 Routing": [
            "Figure: weights by speaker and expert",
            "Table: do routers tell speakers apart?",
            "Table: weights by speaker and expert",
        ],
        "6 Training": ["Figure: loss curves"],
        "7 Sizes": ["Figure: by arm", "Table: by arm"],
    }


@pytest.mark.slow
def test_it_opens_with_the_key_number(seen: dict[str, str]) -> None:
    assert " ".join(seen["start"].split()).startswith(seen["key"])


@pytest.mark.slow
def test_settings_beside_captions_need_no_escapes(seen: dict[str, list[str]]) -> None:
    settings = [text.partition("settings=")[2] for text in seen["parameters"] if "settings=" in text]
    assert settings and any("draws: 10000" in text for text in settings)
    assert not [text for text in settings if "\\" in text]


@pytest.mark.slow
def test_it_says_what_it_compares_and_how_to_read_it(seen: dict[str, str]) -> None:
    start = " ".join(seen["start"].split())
    assert "compares fp32, nf4, nf4-lora, pqm, saml on the corpus spoken_commands" in start
    assert "2 target speakers cannot speak for all speakers." in start
    assert "What to see:" in seen["caption"] and "What not to conclude:" in seen["caption"]


def test_every_caption_is_there_and_every_file_of_captions_is_used() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules += (ROOT / "workflow/Snakefile").read_text(encoding="utf-8")
    named = {Path(caption).name for caption in re.findall(r'"(?:\.\./)?report/([a-z_]+\.rst)"', rules)}
    assert named == {path.name for path in (ROOT / "workflow" / "report").glob("*.rst")}
