"""The voices of the synthetic corpus: their names, and the voices of each role.

A voice is accent x vocal tract x rate x pitch, and its name describes it: `de_f2_r155_p55` is German, variant
f2, 155 words a minute, pitch 55. The vocal tract (espeak's variant: formants, voicing, breath) identifies a
speaker, so each role has its own variants: no role contains a vocal tract of another, whatever rate and pitch
the user chooses. The variants outside the pools are free for target speakers.
"""

import math
import re
from collections.abc import Sequence

from saml.corpora.espeak import Voice, variants
from saml.corpora.sampling import ranked, sample
from saml.runtime.errors import SamlError

NATIVE = (
    "en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
    "en-us-nyc",
)  # fmt: skip
# Languages whose spelling rules keep English sentences, and all letters of the alphabet, distinguishable.
FOREIGN = ("de", "nl", "af", "it", "fr", "es", "sv", "pl", "pt", "da", "nb", "ro", "fi", "ca")

# Variants with the same formants under two names are in the same role. Excluded are voices that whisper,
# croak, skip sounds or overdrive the output.
POOL_VARIANTS = {
    "base": (
        "Alex", "Andy", "Denis", "Gene", "Gene2", "Mario", "Michael", "Mike", "Nguyen", "Reed", "adam",
        "benjamin", "david", "ed", "edward", "edward2", "grandpa", "gustave", "iven3", "marcelo", "max",
        "mike2", "quincy", "rob", "robert", "victor", "Annie", "aunty", "belinda", "linda", "shelby", "zac",
    ),
    "pretrain": (
        "Diogo", "Henrique", "Hugo", "boris", "john", "kaukovalta", "klatt2", "michel", "miguel", "norbert",
        "pablo", "travis", "anika", "grandma", "steph", "steph2",
    ),
    "heldout": ("Lee", "Storm", "ian", "klatt4", "paul", "sandro", "Alicia", "Andrea"),
}  # fmt: skip
# Of the pools; a target speaker may have any rate and pitch that espeak has.
_RATES = range(140, 186, 5)
_PITCHES = range(30, 71, 5)
# One pre-training voice in three is native: 0, 3, 6, ...
_NATIVE_EVERY = 3

_NAME = re.compile(
    r"(?P<language>[a-z0-9]+(?:-[a-z0-9]+)*)_(?P<variant>[A-Za-z0-9]+)_r(?P<rate>\d+)_p(?P<pitch>\d+)"
)


def voice_name(voice: Voice) -> str:
    """The speaker name that describes this voice."""
    return f"{voice.language}_{voice.variant}_r{voice.rate}_p{voice.pitch}"


def target_voice(name: str) -> Voice:
    """The voice that a target speaker's name describes.

    Raises SamlError when the name describes none, or one whose vocal tract belongs to a pool.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise SamlError(
            f"speaker {name!r} is not a voice; write <language>_<variant>_r<words a minute>_p<pitch>, "
            "for example de_f2_r155_p55"
        )
    voice = Voice(match["language"], match["variant"], int(match["rate"]), int(match["pitch"]))
    if not 80 <= voice.rate <= 300 or not 0 <= voice.pitch <= 99:
        raise SamlError(f"speaker {name}: the rate must be from 80 to 300 and the pitch from 0 to 99")
    for role, taken in POOL_VARIANTS.items():
        if voice.variant in taken:
            raise SamlError(
                f"speaker {name}: the variant {voice.variant} belongs to the voices of role {role}, so the "
                f"model would be trained on it; choose one of {', '.join(free_variants())}"
            )
    return voice


def free_variants() -> list[str]:
    """The variants for target speakers, the plain ones (f1, m1, ...) first."""
    taken = {variant for pool in POOL_VARIANTS.values() for variant in pool}
    free = sorted(name for name in variants() - taken if name.isalnum())
    return sorted(free, key=lambda name: re.fullmatch(r"[fm]\d", name) is None)


# The role's former name is part of the key, so that the drawn voices stay the same.
_DRAWN_AS = {"heldout": "general"}


def pool_voices(role: str, count: int, seed: int) -> list[Voice]:
    """`count` voices of a pool, in the order drawn; a smaller count gives the start of the same list.

    No two share both accent and variant. Raises SamlError when there are fewer than `count`.
    """
    if role != "pretrain":
        return _drawn_voices(role, NATIVE, count, seed)
    # Interleaved, so that any first few have the same proportion of native and foreign voices.
    native_count = (count + _NATIVE_EVERY - 1) // _NATIVE_EVERY
    native = iter(_drawn_voices(role, NATIVE, native_count, seed))
    foreign = iter(_drawn_voices(role, FOREIGN, count - native_count, seed))
    return [next(native if index % _NATIVE_EVERY == 0 else foreign) for index in range(count)]


def _drawn_voices(role: str, languages: Sequence[str], count: int, seed: int) -> list[Voice]:
    own = POOL_VARIANTS[role]
    if count > len(languages) * len(own):
        raise SamlError(
            f"corpus.spoken_commands.{role}.voices needs {count} voices of {len(languages)} accents; "
            f"there are {len(languages) * len(own)}"
        )
    key = (seed, _DRAWN_AS.get(role, role), "native" if languages is NATIVE else "foreign")
    accents = ranked(languages, *key, "accents")
    tracts = ranked(own, *key, "tracts")
    # Accents and tracts are cycled in parallel; after each full period the tracts are shifted by one, so that
    # no pair repeats and all accents, and all tracts, are equally frequent.
    period = math.lcm(len(accents), len(tracts))
    pairs = [
        (accents[step % len(accents)], tracts[(step + step // period) % len(tracts)]) for step in range(count)
    ]
    return [_voice(accent, tract, *key) for accent, tract in pairs]


def _voice(language: str, variant: str, *key: object) -> Voice:
    rate, pitch = (
        sample(choice, 1, *key, language, variant, what)[0]
        for what, choice in (("rate", _RATES), ("pitch", _PITCHES))
    )
    return Voice(language, variant, rate, pitch)
