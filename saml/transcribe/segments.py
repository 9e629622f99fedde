"""Where somebody speaks in a long recording: segments that a recogniser takes, cut at pauses.

Speech is found by silero-vad (github.com/snakers4/silero-vad), a small network that comes with its package.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from saml.audio import SAMPLING_RATE
from saml.runtime.devices import one_thread

# A shorter pause does not end a segment, unless that gets too long.
_PAUSE_SECONDS = 0.5
# Beginnings and ends of words are soft; so much is kept before and after what was found.
_MARGIN_SECONDS = 0.2


class Segment(NamedTuple):
    """A part of a recording: its first sample, and the one after its last."""

    start: int
    stop: int


def speech_segments(samples: Tensor, longest: float, *, join: bool) -> list[Segment]:
    """The segments of a recording in which somebody speaks, in order, none longer than `longest` seconds.

    Args:
        samples: `(samples,)` float32 at 16 kHz.
        longest: in seconds, at least 1.
        join: whether neighbouring segments become one as long as they fit into `longest`: a recogniser hears
            more context, and has fewer of them to encode.
    """
    found = _spoken(samples, longest)
    return joined(found, round(longest * SAMPLING_RATE)) if join else found


def joined(segments: Sequence[Segment], longest: int) -> list[Segment]:
    """Neighbouring segments as one, from the first on, as long as that has at most `longest` samples."""
    result: list[Segment] = []
    for segment in segments:
        if result and segment.stop - result[-1].start <= longest:
            result[-1] = Segment(result[-1].start, segment.stop)
        else:
            result.append(segment)
    return result


@torch.inference_mode()
def _spoken(samples: Tensor, longest: float) -> list[Segment]:
    with one_thread():  # which its import sets, for good
        # Imported here for start-up: most recordings are short.
        from silero_vad import get_speech_timestamps, load_silero_vad

        found = get_speech_timestamps(
            samples,
            load_silero_vad(),
            sampling_rate=SAMPLING_RATE,
            max_speech_duration_s=longest,
            min_silence_duration_ms=round(1000 * _PAUSE_SECONDS),
            speech_pad_ms=round(1000 * _MARGIN_SECONDS),
        )
    return [Segment(one["start"], one["end"]) for one in found]
