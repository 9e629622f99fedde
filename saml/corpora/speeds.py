"""Speech at other speeds: copies of utterances whose waveform is resampled, so that pace and pitch change."""

from collections.abc import Iterable, Sequence

from lhotse import MonoCut


def at_speeds(cuts: Iterable[MonoCut], speeds: Sequence[float] | None) -> list[MonoCut]:
    """Each cut of the train part at each of the `speeds`, 1.0 being as it was spoken; all others as they are.

    A copy, lhotse's `perturb_speed`, has `_sp<speed>` behind its ids; its audio is resampled when it is read.
    """
    if speeds is None:
        return list(cuts)
    return [copy for cut in cuts for copy in _copies(cut, speeds)]


def _copies(cut: MonoCut, speeds: Sequence[float]) -> list[MonoCut]:
    if (cut.custom or {}).get("part") != "train":
        return [cut]
    return [cut if speed == 1.0 else cut.perturb_speed(float(speed)) for speed in speeds]
