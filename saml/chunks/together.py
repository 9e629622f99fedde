"""What a job of several speakers in the same batches has finished is kept until all is, as `saml each` does.

While speakers are in training, the crowd's checkpoint has everything; decoding is short and has none. When
some fail, the others' files are written: these are kept here, for Snakemake removes them; the next start has
only the failed ones to do.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from saml.chunks import kept
from saml.chunks.each import Parsed, fill, identity
from saml.corpora.registry import speaker_id
from saml.runtime.errors import SamlError


def together(
    *,
    speakers: Sequence[str],
    arguments: Sequence[str],
    outputs: Sequence[str],
    keep: str,
    parse: Callable[..., Parsed],
    run: Callable[[Sequence[str]], None],
) -> None:
    """Run a stage for all speakers that are not kept; afterwards nothing is kept any more.

    Args:
        speakers: names of the speakers' folders.
        arguments: the stage's command line, `MARK` in place of the speaker.
        outputs: what it writes, likewise.
        keep: a folder for what is finished while the job is not, likewise.
        parse: makes options and a function of a command line.
        run: runs the stage for some of the speakers.

    Raises:
        SamlError: what `run` raises; who was written nevertheless is kept.
    """
    folders = {speaker: Path(fill(keep, speaker)) for speaker in speakers}
    places = {speaker: [Path(fill(output, speaker)) for output in outputs] for speaker in speakers}
    keys = {}
    for speaker in speakers:
        own = [fill(argument, speaker) for argument in arguments]
        # Not what `saml each` would take for its own: bytes differ.
        keys[speaker] = identity(["crowd", *own], parse(own)[0], places[speaker])
    left = [one for one in speakers if not kept.take_back(folders[one], keys[one], places[one])]
    for speaker in speakers:
        if speaker not in left:
            print(f"speaker {speaker_id(speaker)!r}: done before", file=sys.stderr, flush=True)
    # So that what is there afterwards was written by this run.
    for speaker in left:
        for place in places[speaker]:
            kept.remove(place)
    try:
        if left:
            run(left)
    except SamlError:
        for speaker in left:
            if all(place.exists() for place in places[speaker]):
                kept.keep(folders[speaker], keys[speaker], places[speaker])
        raise
    for folder in folders.values():
        kept.remove(folder)
