"""A page for each target speaker: every test sentence, and what each arm understood."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from saml.evaluation.wer import reference_units
from saml.reporting.examples import tested_lines, word_errors
from saml.reporting.html_page import document, table
from saml.reporting.sentences import STYLE, article
from saml.reporting.sounds import clips, linked
from saml.reporting.wording import percent
from saml.runtime import layout
from saml.runtime.files import write_atomically

FOLDER = f"{layout.PAGES}/speakers"

# The lines of hypotheses.jsonl by arm and utterance.
Lines = Mapping[str, Mapping[str, Mapping[str, Any]]]


def page_of(results: Path, speaker: str) -> Path:
    """The file of a speaker's page."""
    return results / FOLDER / f"{layout.folder_name(speaker)}.html"


def write_speaker_page(
    results: Path, speaker: str, seeds: Mapping[str, int], scorer: str, others: Sequence[str]
) -> Path:
    """Write a speaker's page; its path.

    Args:
        results: `results/<experiment>`.
        speaker: whose page.
        seeds: the arms in the order of the page, with the seed that is shown of each.
        scorer: errors are counted, and words compared, as it does.
        others: the target speakers in the order of their pages, for links to the one before and after.

    Raises:
        SamlError: hypotheses are missing or damaged.
    """
    lines = {arm: tested_lines(results, arm, speaker, seed) for arm, seed in seeds.items()}
    path = page_of(results, speaker)
    sounds = {name: linked(clip, path.parent) for name, clip in clips(results, speaker).items()}
    note = (
        "All test sentences, those with most errors first. Words that differ from what was said are marked, "
        f"missing words struck out. Errors by scorer {scorer}; adapted arms with seed {max(seeds.values())}. "
    )
    note += "Recordings are played from the folder of the corpus." if any(sounds.values()) else ""
    body = [
        _links(speaker, others),
        f"<h1>Speaker {html.escape(speaker)}</h1>",
        f'<p class="note">{html.escape(note.strip())}</p>',
        _summary(lines, scorer),
        *_articles(lines, sounds, scorer),
    ]
    write_atomically(path, document(f"Speaker {speaker}", body, STYLE))
    return path


def _links(speaker: str, others: Sequence[str]) -> str:
    place = list(others).index(speaker)
    near = [("previous", place - 1), ("next", place + 1)]
    links = ['<a href="../../index.html">All results</a>']
    links += [
        f'<a href="{quote(layout.folder_name(others[at]))}.html">{name} speaker</a>'
        for name, at in near
        if 0 <= at < len(others)
    ]
    return f"<p>{' &middot; '.join(links)}</p>"


def _summary(lines: Lines, scorer: str) -> str:
    rows = []
    for arm, own in lines.items():
        wrong = sum(word_errors(line, scorer) for line in own.values())
        words = sum(reference_units(line["counts"][scorer]["words"]) for line in own.values())
        rate = percent(wrong / words) if words else "-"
        rows.append([html.escape(arm), str(wrong), str(words), rate])
    return table(rows, ["arm", "errors", "words", "WER, %"])


def _articles(lines: Lines, sounds: Mapping[str, str | None], scorer: str) -> list[str]:
    arms = list(lines)
    wrong = {
        name: {arm: word_errors(lines[arm][name], scorer) for arm in arms if name in lines[arm]}
        for name in lines[arms[0]]
    }
    parts = []
    for name in sorted(wrong, key=lambda name: -sum(wrong[name].values())):
        texts = [(f"{arm} ({count})", lines[arm][name]["hypothesis"]) for arm, count in wrong[name].items()]
        reference = lines[arms[0]][name]["reference"]
        parts.append(article(html.escape(name), reference, texts, sounds.get(name), scorer))
    return parts
