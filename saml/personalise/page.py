"""The page of a personalisation: the verdict, and every sentence before and after, with its audio.

One HTML file without anything outside it. Words that differ from what was said are marked; they are compared
without capitals and punctuation, as the verdict does.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from saml.personalise.verdict import REFERENCE, SCORER, Verdict, chance, sentence_of
from saml.reporting.html_page import document, in_frame
from saml.reporting.sentences import STYLE as SENTENCES
from saml.reporting.sentences import Sentence, article
from saml.reporting.sounds import data_url
from saml.runtime.files import write_atomically

# All audio of a page together; what is beyond stays outside, or the browser would not open it.
LARGEST_AUDIO = 60_000_000

STYLE = """
.verdict { border-left: 6px solid #888; padding: .6rem 1rem; background: #f6f6f6; margin: .8rem 0; }
.use { border-color: #0072b2; } .harm { border-color: #d55e00; }
.verdict strong { font-size: 1.2rem; }
.arms td { text-align: left; border: 0; vertical-align: top; padding: .15rem .7rem .15rem 0; }
.arms td:not(:last-child) { white-space: nowrap; } .arms td:last-child { padding-right: 0; }
"""


def write_page(path: Path, verdicts: Sequence[Verdict], audio: Mapping[str, Path]) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        verdicts: one for each speaker and arm.
        audio: the file of each recording, by utterance.
    """
    sounds = _embedded(audio)
    body = [part for verdict in verdicts for part in _section(verdict, sounds)]
    title = "Personal speech recognition: before and after"
    body = [f"<h1>{title}</h1>", *body]
    write_atomically(path, document(title, body, SENTENCES + STYLE))


def _section(verdict: Verdict, sounds: Mapping[str, str]) -> list[str]:
    kind = {"use it": "use", "do not use it": "harm"}.get(verdict.recommendation, "")
    wrong, words = verdict.errors, verdict.words
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count} of {words} words wrong</td>"
        f"<td>{100 * count / max(1, words):.1f}&nbsp;%&nbsp;WER{_looped(verdict.looped[name])}</td></tr>"
        for name, count in wrong.items()
    )
    same = len(verdict.sentences) - verdict.better - verdict.worse
    ordered = sorted(verdict.sentences, key=lambda one: one.errors_after - one.errors_before)
    return [
        f"<h2>{html.escape(verdict.speaker)}, {html.escape(verdict.arm)}</h2>",
        f'<div class="verdict {kind}"><strong>{wrong[REFERENCE]} &rarr; {wrong[verdict.arm]} of {words} '
        f"words wrong</strong><br>{html.escape(sentence_of(verdict.recommendation))}</div>",
        in_frame(f'<table class="arms">{rows}</table>'),
        f"<p>Relative WER reduction against {REFERENCE}: {100 * verdict.reduction:.0f} % "
        f"[{100 * verdict.low:.0f}, {100 * verdict.high:.0f}], {html.escape(chance(verdict.p))}. "
        f"Sentences: {verdict.better} better, {verdict.worse} worse, {same} the same. Capital and final "
        f"mark: {100 * verdict.formatted_before:.0f} % before, {100 * verdict.formatted_after:.0f} % after. "
        "Every sentence was transcribed by an adapter that was not trained on it.</p>",
        *(_article(one, sounds) for one in ordered),
    ]


def _looped(count: int) -> str:
    return f", {count} repeated themselves" if count else ""


def _article(one: Sentence, sounds: Mapping[str, str]) -> str:
    heading = f"{html.escape(one.utterance)}: {one.errors_before} &rarr; {one.errors_after} errors"
    texts = [("before", one.before), ("after", one.after)]
    return article(heading, one.reference, texts, sounds.get(one.utterance), SCORER)


def _embedded(audio: Mapping[str, Path]) -> dict[str, str]:
    """The files as data URLs, as long as all of them together are not too large for a page."""
    found: dict[str, str] = {}
    left = LARGEST_AUDIO
    for utterance, path in audio.items():
        left -= path.stat().st_size
        if left < 0:
            break
        found[utterance] = data_url(path)
    return found
