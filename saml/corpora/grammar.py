"""The sentences of the synthetic corpus and their division into parts.

Six words in a fixed order, as in the GRID corpus (Cooke, Barker, Cunningham and Shao, 2006): command,
colour, preposition, letter, digit, adverb. 51 words make 64,000 sentences. A seeded hash assigns every
sentence to one part, so that no sentence is in two parts, not even from two speakers.
"""

from functools import cache
from itertools import product

from saml.corpora.sampling import sample, stable_hash
from saml.runtime.errors import SamlError

Sentence = tuple[str, str, str, str, str, str]

SLOTS = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),  # without w, as in GRID: the only letter of three syllables
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)

# The share of all sentences in each part, in per cent.
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

# espeak's phonemes for the letter A, which it would otherwise read as an article (in French: elide).
_LETTER_A = {"en": "[['eI]]", "fr": "[['a]]"}


def sentences(speaker: str, role: str, part: str, count: int, seed: int) -> list[Sentence]:
    """`count` different sentences for a speaker, from the given part of a role.

    A smaller count gives the start of the same list. Raises SamlError when the part has too few sentences.
    """
    own = sentences_by_part(seed)[f"{role}-{part}"]
    if count > len(own):
        raise SamlError(
            f"corpus.spoken_commands.{role} needs {count} sentences of part {part}; there are {len(own)}"
        )
    return sample(own, count, seed, "sentences", speaker, part)


def code(sentence: Sentence) -> str:
    """The six-character code of a sentence, as in GRID: `bbaf2n` is "bin blue at f two now"."""
    command, colour, preposition, letter, digit, adverb = sentence
    return f"{command[0]}{colour[0]}{preposition[0]}{letter}{SLOTS[4].index(digit)}{adverb[0]}"


def letter_name(letter: str, language: str) -> str:
    """SSML for espeak that makes a voice of this language speak a letter's name."""
    name = f'<say-as interpret-as="characters">{letter}</say-as>'
    return _LETTER_A.get(language.split("-")[0], name) if letter == "a" else name


@cache
def sentences_by_part(seed: int) -> dict[str, list[Sentence]]:
    """The sentences of each part (`<role>-<part>`), in the order of the grammar."""
    owners = [part for part, share in SHARES.items() for _ in range(share)]
    parts: dict[str, list[Sentence]] = {part: [] for part in SHARES}
    for words in product(*SLOTS):
        parts[owners[stable_hash(seed, "part", *words) % len(owners)]].append(words)
    return parts
