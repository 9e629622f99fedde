"""One spoken sentence on a page: what was said, what was understood, the differing words, a player.

Words are compared as a scorer does, without capitals and punctuation.
"""

import difflib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from saml.evaluation.wer import normalise

STYLE = """
article { border-top: 1px solid #ddd; padding: .7rem 0; }
article header { display: flex; gap: .3rem 1rem; align-items: center; flex-wrap: wrap; color: #555; }
article header { font-size: .9rem; }
article p { margin: .15rem 0; max-width: none; padding-left: 7.5rem; text-indent: -7.5rem; }
.label { display: inline-block; width: 7.5rem; text-indent: 0; color: #666; font-size: .85rem; }
mark { background: #ffe0cc; color: #8a2f00; padding: 0 .15em; border-radius: .2em; }
@media (max-width: 30rem) { .label { display: block; } article p { padding: 0; text-indent: 0; } }
del { color: #a33; } audio { height: 2rem; width: 18rem; max-width: 100%; }
"""


@dataclass(frozen=True)
class Sentence:
    """A test utterance before and after adaptation, with its word errors."""

    utterance: str
    reference: str
    before: str
    after: str
    errors_before: int
    errors_after: int


def marked(text: str, reference: str, scorer: str) -> str:
    """`text` as HTML in which words that are not the reference's are marked, and missing ones struck out."""
    own, said = text.split(), reference.split()
    matcher = difflib.SequenceMatcher(a=_plain(said, scorer), b=_plain(own, scorer), autojunk=False)
    parts: list[str] = []
    for kind, start, end, first, last in matcher.get_opcodes():
        words = html.escape(" ".join(own[first:last]))
        if kind == "equal":
            parts.append(words)
            continue
        if kind != "insert" and any(_plain(said[start:end], scorer)):
            parts.append(f"<del>{html.escape(' '.join(said[start:end]))}</del>")
        if words:
            parts.append(f"<mark>{words}</mark>")
    return " ".join(parts)


def article(
    heading: str, reference: str, texts: Sequence[tuple[str, str]], sound: str | None, scorer: str
) -> str:
    """A sentence as HTML.

    Args:
        heading: HTML, above the texts.
        reference: what was said.
        texts: (label, text) of each transcription, e.g. before and after.
        sound: the address of the recording, or None.
        scorer: words are compared as it does.
    """
    player = f'<audio controls preload="none" src="{html.escape(sound)}"></audio>' if sound else ""
    lines = [("said", html.escape(reference))]
    lines += [(label, marked(text, reference, scorer)) for label, text in texts]
    shown = "".join(f'<p><span class="label">{html.escape(label)}</span>{text}</p>' for label, text in lines)
    return f"<article><header><span>{heading}</span>{player}</header>{shown}</article>"


def _plain(words: Iterable[str], scorer: str) -> list[str]:
    return [normalise(word, scorer) for word in words]
