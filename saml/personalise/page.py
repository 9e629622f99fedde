"""The page of a personalisation: the verdict, and every sentence before and after, with its audio.

One HTML file without anything outside it. Words that differ from what was said are marked; they are compared
without capitals and punctuation, as the verdict does.
"""

import base64
import difflib
import html
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from saml.evaluation.wer import normalise
from saml.personalise.verdict import REFERENCE, SCORER, Sentence, Verdict, sentence_of
from saml.runtime.files import write_atomically

# All audio of a page together; what is beyond stays outside, or the browser would not open it.
LARGEST_AUDIO = 60_000_000

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 1.5rem auto; }
body { padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
.verdict { border-left: 6px solid #888; padding: .6rem 1rem; background: #f6f6f6; margin: .8rem 0; }
.use { border-color: #0072b2; } .harm { border-color: #d55e00; }
.verdict strong { font-size: 1.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
article { border-top: 1px solid #ddd; padding: .7rem 0; }
header { display: flex; gap: 1rem; align-items: center; flex-wrap: wrap; color: #555; font-size: .9rem; }
article p { margin: .15rem 0; }
.label { display: inline-block; width: 4.2rem; color: #777; font-size: .85rem; }
mark { background: #ffe0cc; color: #8a2f00; padding: 0 .15em; border-radius: .2em; }
del { color: #a33; } audio { height: 2rem; max-width: 100%; }
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
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1>{''.join(body)}</body></html>\n"
    )
    write_atomically(path, page.encode())


def marked(text: str, reference: str) -> str:
    """`text` as HTML in which words that are not the reference's are marked, and missing ones struck out."""
    own, said = text.split(), reference.split()
    matcher = difflib.SequenceMatcher(a=_plain(said), b=_plain(own), autojunk=False)
    parts: list[str] = []
    for kind, start, end, first, last in matcher.get_opcodes():
        words = html.escape(" ".join(own[first:last]))
        if kind == "equal":
            parts.append(words)
            continue
        if kind != "insert" and any(_plain(said[start:end])):
            parts.append(f"<del>{html.escape(' '.join(said[start:end]))}</del>")
        if words:
            parts.append(f"<mark>{words}</mark>")
    return " ".join(parts)


def _plain(words: Iterable[str]) -> list[str]:
    return [normalise(word, SCORER) for word in words]


def _section(verdict: Verdict, sounds: Mapping[str, str]) -> list[str]:
    kind = {"use it": "use", "do not use it": "harm"}.get(verdict.recommendation, "")
    wrong, words = verdict.errors, verdict.words
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count} of {words} words wrong</td>"
        f"<td>{100 * count / max(1, words):.1f} % WER</td><td>{verdict.looped[name] or ''}"
        f"{' repeated themselves' if verdict.looped[name] else ''}</td></tr>"
        for name, count in wrong.items()
    )
    same = len(verdict.sentences) - verdict.better - verdict.worse
    ordered = sorted(verdict.sentences, key=lambda one: one.errors_after - one.errors_before)
    return [
        f"<h2>{html.escape(verdict.speaker)}, {html.escape(verdict.arm)}</h2>",
        f'<div class="verdict {kind}"><strong>{wrong[REFERENCE]} &rarr; {wrong[verdict.arm]} of {words} '
        f"words wrong</strong><br>{html.escape(sentence_of(verdict.recommendation))}</div>",
        f"<table>{rows}</table>",
        f"<p>Relative WER reduction against {REFERENCE}: {100 * verdict.reduction:.0f} % "
        f"[{100 * verdict.low:.0f}, {100 * verdict.high:.0f}], p = {verdict.p:.3f}. "
        f"Sentences: {verdict.better} better, {verdict.worse} worse, {same} the same. Capital and final "
        f"mark: {100 * verdict.formatted_before:.0f} % before, {100 * verdict.formatted_after:.0f} % after. "
        "Every sentence was transcribed by an adapter that was not trained on it.</p>",
        *(_article(one, sounds) for one in ordered),
    ]


def _article(one: Sentence, sounds: Mapping[str, str]) -> str:
    sound = sounds.get(one.utterance)
    player = f'<audio controls preload="none" src="{sound}"></audio>' if sound else ""
    lines = [
        ("said", html.escape(one.reference)),
        ("before", marked(one.before, one.reference)),
        ("after", marked(one.after, one.reference)),
    ]
    texts = "".join(f'<p><span class="label">{label}</span>{text}</p>' for label, text in lines)
    return (
        f"<article><header><span>{html.escape(one.utterance)}: {one.errors_before} &rarr; {one.errors_after} "
        f"errors</span>{player}</header>{texts}</article>"
    )


def _embedded(audio: Mapping[str, Path]) -> dict[str, str]:
    """The files as data URLs, as long as all of them together are not too large for a page."""
    found: dict[str, str] = {}
    left = LARGEST_AUDIO
    for utterance, path in audio.items():
        left -= path.stat().st_size
        if left < 0:
            break
        kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
        found[utterance] = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return found
