"""Speed perturbation: resampled copies of utterances, which differ in pace and pitch."""

from collections.abc import Iterable, Sequence

from lhotse import MonoCut


def perturb_speeds(cuts: Iterable[MonoCut], speeds: Sequence[float] | None) -> list[MonoCut]:
    """Each cut of the train part at each of the `speeds` (1.0: unchanged); the other cuts unchanged.

    Copies are made by lhotse's `perturb_speed`: their ids end in `_sp<speed>`, and their audio is resampled
    when it is read.
    """
    if speeds is None:
        return list(cuts)
    return [copy for cut in cuts for copy in _copies(cut, speeds)]


def _copies(cut: MonoCut, speeds: Sequence[float]) -> list[MonoCut]:
    if (cut.custom or {}).get("part") != "train":
        return [cut]
    return [cut if speed == 1.0 else cut.perturb_speed(float(speed)) for speed in speeds]
