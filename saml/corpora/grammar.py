"""The sentences of the synthetic corpus and who may speak them.

Six words in a fixed order, as in the GRID corpus (Cooke, Barker, Cunningham and Shao, 2006): command,
colour, preposition, letter, digit, adverb. 51 words make 64,000 sentences. A seeded hash gives every
sentence to one part for good, so that no sentence stands in two parts, not even spoken by two people.
"""

from functools import cache
from itertools import product

from saml.corpora.seeded import drawn, seeded
from saml.runtime.errors import SamlError

Sentence = tuple[str, str, str, str, str, str]

SLOTS = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),  # `w` is the only letter of three syllables; GRID leaves it out too
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)

# The share of all sentences that each part owns, in per cent.
SHARES = {
    "base-train": 40,
    "base-dev": 5,
    "pretrain-train": 20,
    "pretrain-dev": 5,
    "heldout-test": 5,
    "target-train": 10,
    "target-dev": 5,
    "target-test": 10,
}

# The article "a", and in French the English "at a", would swallow the letter's name: espeak's phonemes for
# it.
_LETTER_A = {"en": "[['eI]]", "fr": "[['a]]"}


def sentences(speaker: str, role: str, part: str, count: int, seed: int) -> list[Sentence]:
    """`count` different sentences for a speaker, all from what this role's part owns.

    A smaller count gives the beginning of the same list. Raises SamlError for more than the part owns.
    """
    own = _parts(seed)[f"{role}-{part}"]
    if count > len(own):
        raise SamlError(
            f"corpus.spoken_commands.{role} asks for {count} sentences of part {part}; there are {len(own)}"
        )
    return drawn(own, count, seed, "sentences", speaker, part)


def code(sentence: Sentence) -> str:
    """Six characters that name a sentence, as in GRID: `bbaf2n` is "bin blue at f two now"."""
    command, colour, preposition, letter, digit, adverb = sentence
    return f"{command[0]}{colour[0]}{preposition[0]}{letter}{SLOTS[4].index(digit)}{adverb[0]}"


def letter_name(letter: str, language: str) -> str:
    """What espeak is given (SSML) so that a voice of this language says a letter's name."""
    name = f'<say-as interpret-as="characters">{letter}</say-as>'
    return _LETTER_A.get(language.split("-")[0], name) if letter == "a" else name


@cache
def _parts(seed: int) -> dict[str, list[Sentence]]:
    """The sentences that each part owns, in the order of the grammar."""
    owners = [part for part, share in SHARES.items() for _ in range(share)]
    parts: dict[str, list[Sentence]] = {part: [] for part in SHARES}
    for words in product(*SLOTS):
        parts[owners[seeded(seed, "part", *words) % len(owners)]].append(words)
    return parts
