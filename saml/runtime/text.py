"""One form for texts and names that look alike: letters composed, plain quotes and spaces, nothing invisible.

Whatever text enters goes through `plain_text`: transcripts and ids of a corpus, names of files that are
compared, what a tokeniser encodes, references and hypotheses that are scored.
"""

import re
import unicodedata

# Characters without width: soft hyphen, joiners, marks of direction, byte order mark, variation selectors.
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
_APOSTROPHES = "\u02bb\u02bc\u055a\u2018\u2019\u201a\u201b\ua78c\uff07"
_QUOTES = "\u201c\u201d\u201e\u201f\uff02"
# Between letters they stand for an apostrophe, elsewhere for themselves: grave and acute accents, primes.
_ACCENTS = "`\u00b4\u02b9\u2032"

_REMOVED = re.compile(f"[{_INVISIBLE}]")
_PLAIN = {ord(one): "'" for one in _APOSTROPHES} | {ord(one): '"' for one in _QUOTES}
_BETWEEN_LETTERS = re.compile(rf"(?<=[^\W\d_])[{_ACCENTS}](?=[^\W\d_])")


def plain_text(text: str) -> str:
    """`text` in the form in which texts that look alike are equal.

    Letters are composed (NFC). Typographic quotes and apostrophes become plain ones, and so do accents and
    primes between two letters (`don´t`). Every kind of space and line separator of Unicode becomes a space.
    Soft hyphens, characters of no width and marks of direction are removed. Capitals, punctuation, tabs and
    line breaks stay.
    """
    composed = unicodedata.normalize("NFC", _REMOVED.sub("", text)).translate(_PLAIN)
    spaced = "".join(" " if unicodedata.category(one) in ("Zs", "Zl", "Zp") else one for one in composed)
    return _BETWEEN_LETTERS.sub("'", spaced)


def plain_line(text: str) -> str:
    """`plain_text` on one line: single spaces between words and none around them."""
    return " ".join(plain_text(text).split())
