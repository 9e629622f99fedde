"""The front page of an experiment's results: the key number, and links to everything else.

- `index.html`: at the top of the experiment's folder;
- `pages/key.html`: key number and key figure alone, for the front of Snakemake's report;
- `pages/speakers/<speaker>.html`: every test sentence of a speaker under every arm.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from saml.reporting.csv_tables import read_table
from saml.reporting.examples import chosen, paired
from saml.reporting.html_page import document, table
from saml.reporting.index_links import files_parts
from saml.reporting.key_number import (
    KEY_FIGURE,
    KeyNumber,
    key_figure,
    key_fragment,
    key_number,
    key_sentences,
)
from saml.reporting.pages import section_parts, summary_sections
from saml.reporting.sentences import STYLE as SENTENCES
from saml.reporting.sentences import article
from saml.reporting.sounds import clips, embedded
from saml.reporting.speaker_pages import page_of, write_speaker_page
from saml.reporting.wording import number_of, percent
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

STYLE = """
.key { font-size: 1.15rem; border-left: 6px solid #0072b2; padding: .4rem 0 .4rem 1rem; }
.figures { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.figures .figure { flex: 1 1 20rem; max-width: 38rem; }
"""


def index(
    *,
    results: Path,
    experiment: str,
    summary: Path,
    wer: Path,
    arms: Sequence[str],
    speakers: Sequence[str],
    seeds: Sequence[int],
    index: Path,
    key: Path,
    record: Path,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: write the front page, the key number for the report, and a page for each speaker.

    Args:
        results: `results/<experiment>`, with its tables, pages, figures and hypotheses.
        experiment: its name.
        summary, wer: the tables.
        arms: the arms of the tables, in their order.
        speakers: the target speakers.
        seeds: the seeds of adapted arms; of several the first is shown.
        index, key: the pages to write.
        record: the run record to write.
        corpus, family: for the run record and the title.

    Raises:
        SamlError: a table or hypotheses are missing or damaged.
    """
    run = RunRecord(stage="index", experiment=experiment, corpus=corpus, family=family)
    rates, counts = read_table(summary), read_table(wer)
    number, scorer = key_number(rates), str(rates["scorer"].iloc[0])
    adapted = set(rates.loc[rates["speaker_mb"] > 0, "arm"])
    shown = {arm: seeds[0] if arm in adapted else 0 for arm in arms}
    with Progress("index", len(speakers)) as progress:
        for done, speaker in enumerate(speakers, start=1):
            write_speaker_page(results, speaker, shown, scorer, speakers)
            progress.update(done, speaker)
    write_atomically(key, key_fragment(number, results / KEY_FIGURE))
    about = ", ".join(name for name in (corpus, family) if name)
    body = [
        f"<h1>{html.escape(experiment)}</h1>",
        f'<p class="note">{html.escape(about)}</p>' if about else "",
        *key_sentences(number),
        f'<div class="figures">{key_figure(KEY_FIGURE)}{_size_figure()}</div>',
        *section_parts({f"Results by arm, {name}": rows for name, rows in summary_sections(rates).items()}),
        *_examples(results, number, speakers, shown),
        *_speakers(results, counts, speakers, list(shown)),
        *files_parts(results),
    ]
    write_atomically(index, document(experiment, body, SENTENCES + STYLE))
    for path in (index, key):
        run.file(path)
    run.write(record)


def _size_figure() -> str:
    address = "figures/wer_by_size.svg"
    about = "WER of each arm against the megabytes for one user"
    return f'<p class="figure"><a href="{address}"><img src="{address}" alt="{about}"></a></p>'


def _examples(
    results: Path, number: KeyNumber | None, speakers: Sequence[str], seeds: dict[str, int]
) -> list[str]:
    """A handful of sentences before and after, with their recordings inside the page."""
    if number is None:
        return []
    before, after, scorer = (str(number.reference["arm"]), str(number.arm["arm"]), str(number.arm["scorer"]))
    found = chosen(paired(results, (before, seeds[before]), (after, seeds[after]), speakers, scorer))
    note = (
        f"Before: {before}; after: {after}, seed {seeds[after]}. Words that differ from what was said are "
        "marked, missing words struck out. Typical: errors before and after nearest to the mean sentence's."
    )
    parts = ["<h2>Examples</h2>", f'<p class="note">{html.escape(note)}</p>']
    for kind, sentences in found.items():
        for one in sentences:
            clip = clips(results, one.speaker).get(one.utterance)
            page = _link(results, one.speaker, f"speaker {one.speaker}")
            heading = (
                f"<strong>{kind}</strong>: {one.errors_before} &rarr; {one.errors_after} "
                f"{'error' if one.errors_after == 1 else 'errors'}, {page}"
            )
            sound = embedded(clip) if clip else None
            texts = [("before", one.before), ("after", one.after)]
            parts.append(article(heading, one.reference, texts, sound, scorer))
    return parts


def _link(results: Path, speaker: str, text: str) -> str:
    """A link to the page of a speaker."""
    address = quote(page_of(results, speaker).relative_to(results).as_posix())
    return f'<a href="{address}">{html.escape(text)}</a>'


def _speakers(results: Path, wer: pd.DataFrame, speakers: Sequence[str], arms: Sequence[str]) -> list[str]:
    """A table of all speakers, whose names lead to their pages."""
    scorer = str(wer["scorer"].iloc[0])
    own = wer[wer["scorer"] == scorer]
    sums = own.groupby(["speaker", "arm"])[["substitutions", "deletions", "insertions", "words"]].sum()
    rates = sums[["substitutions", "deletions", "insertions"]].sum(axis=1) / sums["words"]
    rows = [
        [
            _link(results, speaker, speaker),
            *(percent(rates[speaker, arm]) for arm in arms),
        ]
        for speaker in speakers
    ]
    return [
        "<h2>Speakers</h2>",
        f'<p class="note">WER in per cent, scorer {html.escape(scorer)}, seeds pooled. '
        f"{number_of(len(speakers), 'page')} with every test sentence under every arm.</p>",
        table(rows, ["speaker", *arms]),
    ]
