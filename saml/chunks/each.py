"""The command `saml each`: one stage for several speakers, one after another, in one process.

Python, torch and the libraries around it start once. All else is as in a process for each speaker: models are
loaded anew, and generators of random numbers begin where they begin in a new process.
"""

import gc
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from saml import __version__
from saml.chunks import kept
from saml.corpora.registry import speaker_id
from saml.runtime.errors import Interrupted, SamlError, in_one_line
from saml.runtime.files import checksum

# Stands for a speaker in the arguments. No folder's name holds it: there, digits or capitals follow a "%".
MARK = "%speaker%"

# Flags, with a value each, that say how a job is interrupted and nothing of what it makes.
_OF_CHECKPOINTS = ("--work", "--checkpoint-seconds")

# What a stage's command line becomes: the options, and the function to call with them.
Parsed = tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]


def fill(argument: str, folder: str) -> str:
    """An argument (or a path) of the speaker with this folder name; ids stand in `--speaker=` alone."""
    if argument == f"--speaker={MARK}":
        return f"--speaker={speaker_id(folder)}"
    return argument.replace(MARK, folder)


def each(
    *,
    speakers: Sequence[str],
    arguments: Sequence[str],
    outputs: Sequence[str],
    keep: str,
    parse: Callable[..., Parsed],
) -> None:
    """Run a stage for each speaker; who fails does not stop the others.

    Args:
        speakers: names of the speakers' folders.
        arguments: the stage's command line, `MARK` in place of the speaker.
        outputs: what it writes, likewise.
        keep: a folder for what is finished while the job is not, likewise; removed at the end.
        parse: makes options and a function of a command line.

    Raises:
        SamlError: the speakers who failed, each with the reason.
        Interrupted: the job was asked to stop; started again, it goes on.
    """
    failed = []
    with _random_numbers() as begin:
        for number, folder in enumerate(speakers, start=1):
            own = Path(fill(keep, folder))
            places = [Path(fill(output, folder)) for output in outputs]
            name = f"speaker {speaker_id(folder)!r} ({number} of {len(speakers)})"
            options, run = parse([fill(argument, folder) for argument in arguments])
            try:
                key = identity([fill(argument, folder) for argument in arguments], options, places)
                if kept.take_back(own, key, places):
                    _say(f"{name}: done before")
                    continue
                _say(name)
                for place in places:
                    kept.remove(place)
                begin()
                run(options)
                kept.keep(own, key, places)
            except Interrupted:
                raise
            except Exception as error:
                reason = in_one_line(error)
                if reason is None:
                    raise
                _say(f"{name}: {reason}")
                failed.append(f"speaker {speaker_id(folder)!r}: {reason}")
            gc.collect()
    if failed:
        rest = len(speakers) - len(failed)
        kept_now = f"; the other {rest} are kept for the next start" if rest else ""
        raise SamlError(" | ".join(failed) + kept_now)
    for folder in speakers:
        kept.remove(Path(fill(keep, folder)))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _random_numbers() -> Iterator[Callable[[], None]]:
    """Gives a function that puts every generator where it is now: where a new process has it."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def begin() -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])

    yield begin


def identity(arguments: Sequence[str], options: dict[str, Any], outputs: Sequence[Path]) -> str:
    """Everything that a speaker's files depend on: the command, what it reads, who computes.

    Where checkpoints lie and how often one is left is no part of it.
    """
    inputs = [value for value in options.values() if isinstance(value, Path) and value not in outputs]
    content = {
        "arguments": _deciding(arguments),
        "inputs": [_digest(path, path.stat().st_mtime_ns) for path in inputs if path.is_file()],
        "saml": __version__,
        "torch": version("torch"),
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _deciding(arguments: Sequence[str]) -> list[str]:
    """The arguments that files depend on."""
    pairs = zip(arguments, ["", *arguments], strict=False)
    return [
        word
        for word, before in pairs
        if word.partition("=")[0] not in _OF_CHECKPOINTS and before not in _OF_CHECKPOINTS
    ]


@cache
def _digest(path: Path, changed: int) -> str:
    """The checksum of a file, read once for all speakers."""
    return checksum(path)
