"""How much silence must a Whisper hear after an utterance? Error rates and times of a trained checkpoint.

The checkpoint of config/an4-whisper.yaml on the 14 people of its roles `pretrain` and `heldout`, whom it has
not heard and who are no target speakers: with its whole context of 7 s, and with 1 s and 0.5 s of silence.
Wants SAML_FOLDER_ROOT and SAML_WHISPER_CHECKPOINT (config/README.md); without them it says so and ends.
"""

import argparse
import copy
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

VARIABLES = ("SAML_FOLDER_ROOT", "SAML_WHISPER_CHECKPOINT")
CONFIGS = [Path(__file__).parents[1] / "config" / name for name in ("config.yaml", "an4-whisper.yaml")]
ROLES = ("pretrain", "heldout")


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--timed", type=int, default=24, help="utterances that are timed, drawn (24)")
    parser.add_argument("--scored", type=int, help="utterances that are scored, drawn (default: all)")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4], help="(1 4)")
    parser.add_argument("--tails", type=float, nargs="+", default=[1.0, 0.5], help="seconds (1 0.5)")
    options = parser.parse_args(given)
    lacking = [name for name in VARIABLES if not os.environ.get(name)]
    if lacking:
        print(f"whisper_context: left out; it wants {' and '.join(lacking)} (config/README.md)")
        return
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("whisper_context", "how much silence must a Whisper hear?", options)
    with tempfile.TemporaryDirectory() as folder:
        _compare(report, options, Path(folder))
    report.finish()


def _compare(report: Report, options: argparse.Namespace, folder: Path) -> None:
    from saml.config.load import load
    from saml.features.log_mel import feature_config

    config = load(CONFIGS)
    model = config["model"]
    rows = _rows(config)
    random.Random(options.seed).shuffle(rows)
    whole = f"whole context, {feature_config(model).pad_seconds:g} s"
    systems = {}
    for tail in (None, *options.tails):
        name = whole if tail is None else f"{tail:g} s of silence"
        systems[name] = system(model, tail, rows[: options.scored], folder)
    for beams in options.beams:
        timings = interleave(
            {
                name: _transcribe(recogniser, cuts[: options.timed], beams)
                for name, (recogniser, cuts) in systems.items()
            },
            repeats=options.repeats,
        )
        rates = {name: _errors(recogniser, cuts, beams) for name, (recogniser, cuts) in systems.items()}
        people = len({row.speaker for row in rows[: options.scored]})
        group = f"{beams} beams, WER of {len(rows[: options.scored])} utterances of {people} people"
        report.compare(group, timings, reference=whole, more=rates)


def _rows(config: Any) -> list[Any]:
    """The utterances of people whom the checkpoint has not heard and nobody is adapted to."""
    from saml.corpora.folder import read_rows

    own = config["corpus"]["folder"]
    people = {speaker for role in ROLES for speaker in own["roles"][role]} - set(config["target_speakers"])
    return sorted(
        (row for row in read_rows(own) if row.speaker in people), key=lambda row: str(row.utterance)
    )


def system(model: Any, tail: float | None, rows: Sequence[Any], folder: Path) -> tuple[Any, list[Any]]:
    """The checkpoint with this much silence, and the utterances' cuts with features to suit."""
    import torch

    from saml.models.checkpoints.transformers import open_checkpoint, read_recogniser
    from saml.runtime.devices import device

    model = copy.deepcopy(dict(model))
    model["whisper"]["features"]["tail_seconds"] = tail
    recogniser = read_recogniser(open_checkpoint(model))
    recogniser.to(torch.device(device()))
    return recogniser, cuts_of(rows, model, folder, f"{tail}")


def cuts_of(rows: Sequence[Any], model: Any, folder: Path, name: str) -> list[Any]:
    """The cuts of utterances, with their texts and a model's features, which lie in `folder` under `name`."""
    from lhotse import SupervisionSegment

    from saml.corpora.audio import read_cut, read_recording
    from saml.features.log_mel import LogMel, feature_config
    from saml.features.store import ArchiveWriter, store_features

    extractor, cuts = LogMel(feature_config(model)), []
    with ArchiveWriter(folder / f"{name}.bin") as archive:
        for row in rows:
            recording, _ = read_recording(row.path, row.utterance, folder / f"{row.utterance}.flac")
            cut = recording.to_cut()
            cut.id = row.utterance
            cut.supervisions = [
                SupervisionSegment(cut.id, cut.id, 0.0, cut.duration, text=row.text, speaker=row.speaker)
            ]
            cuts.append(store_features(cut, read_cut(cut)[0], extractor, archive))
    return cuts


def _search(beams: int) -> Any:
    from saml.decoding.transcription import Search

    return Search(beams=beams, batch_seconds=60.0, max_tokens_per_second=30.0, ctc_weight=0.0, guard=False)


def _transcribe(recogniser: Any, cuts: Sequence[Any], beams: int) -> Callable[[], None]:
    from saml.decoding.transcription import transcribe

    def run() -> None:
        transcribe(recogniser, cuts, _search(beams))

    return run


def _errors(recogniser: Any, cuts: Sequence[Any], beams: int) -> dict[str, Any]:
    """Errors, words and their rate, as the released scorer counts."""
    from saml.decoding.transcription import transcribe
    from saml.evaluation.wer import count, error_rate, pool

    texts = transcribe(recogniser, cuts, _search(beams))
    counts = [
        count(cut.supervisions[0].text, texts[cut.id], ["released"])["released"]["words"] for cut in cuts
    ]
    pooled = pool(counts)
    errors = sum(number for operation, number in pooled.items() if operation != "hits")
    return {"WER %": 100 * error_rate(pooled), "errors": errors}


if __name__ == "__main__":
    main()
