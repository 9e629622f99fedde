"""Beam search: batches of utterances sorted by length with a short context, beside transformers' generate.

transformers' Whisper decodes utterance by utterance, each padded to 30 s, as its documentation shows. Ours is
timed one by one too, so that what comes from the context and what from batches can be told apart. Weights are
random and the same for all, and no text ends early for long: what is searched is as many tokens as the length
of an utterance allows.

The last group has utterances of several speakers, each with its speaker's own SAML: one speaker's after
another's, as jobs of one speaker decode them, and all in multi-adapter batches.

openai-whisper's `decode` takes part where it is installed, with random weights of the same size, and
faster-whisper where it and CTranslate2 are: the same weights in int8, which is an outside mark and no
comparison of like with like. Both pad to 30 s and find as many tokens as the others.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--size", default="mini", help="toy, mini (default), tiny.en or base.en")
    parser.add_argument("--like", nargs="+", default=["librispeech"], help="or ted, or both")
    parser.add_argument("--utterances", type=int, default=6, help="(6)")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5, 20], help="(1 5 20)")
    parser.add_argument("--batch-seconds", type=float, default=120.0, help="of padded speech (120)")
    parser.add_argument("--speakers", type=int, default=6, help="each with an adapter of its own (6)")
    parser.add_argument("--each", type=int, default=2, help="utterances of each of them (2)")
    parser.add_argument("--experts", type=int, default=6, help="of their SAML (6)")
    parser.add_argument(
        "--tail-seconds", type=float, default=1.0, help="of silence after an utterance, for ours (1)"
    )
    options = parser.parse_args(given)
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("decoding", "what do batches and a short context save?", options)
    for like in options.like:
        with tempfile.TemporaryDirectory() as folder:
            _compare(report, like, options, Path(folder))
            _compare_speakers(report, like, options, Path(folder))
    report.finish()


def _compare(report: Report, like: str, options: argparse.Namespace, folder: Path) -> None:
    import torch

    from benchmarks import _others
    from benchmarks._models import build
    from benchmarks._speech import lengths, make_cuts

    seconds = lengths(like, options.utterances, options.seed)
    long = make_cuts(folder, "long", seconds, seed=options.seed, tail_seconds=None)
    short = make_cuts(folder, "short", seconds, seed=options.seed, tail_seconds=options.tail_seconds)
    ours = build(options.size, seed=options.seed, tail_seconds=options.tail_seconds)
    ours.to(torch.device(options.device))
    usual = build(options.size, seed=options.seed)
    usual.to(torch.device(options.device))
    others, lacking = _others.found(options, folder)
    for sentence in lacking:
        report.note(sentence)
    reference = "transformers, one by one, 30 s"
    for beams in options.beams:
        timings = interleave(
            {
                reference: _theirs(usual, long, beams, options),
                "ours, one by one": _ours(ours, short, beams, 0.0),
                "ours, in batches": _ours(ours, short, beams, options.batch_seconds),
                **{name: make(long, beams) for name, make in others.items()},
            },
            repeats=options.repeats,
        )
        group = f"{options.size}, {len(seconds)} utterances like {like}'s, {beams} beams"
        heard = {
            name: {"speech s/s": sum(seconds) / statistics.median(timing.wall)}
            for name, timing in timings.items()
        }
        report.compare(group, timings, reference=reference, more=heard)


def _compare_speakers(report: Report, like: str, options: argparse.Namespace, folder: Path) -> None:
    from benchmarks._decoding_speakers import ways
    from benchmarks._speech import TOKENS_PER_SECOND, lengths, make_cuts
    from saml.decoding.transcription import Search

    seconds = lengths(like, options.speakers * options.each, options.seed)
    cuts = make_cuts(folder, "several", seconds, seed=options.seed, tail_seconds=options.tail_seconds)
    for beams in options.beams:
        search = Search(
            beams=beams,
            batch_seconds=options.batch_seconds,
            max_tokens_per_second=TOKENS_PER_SECOND,
            ctc_weight=0.0,
            guard=False,
        )
        timings = interleave(ways(cuts, search, options), repeats=options.repeats)
        work = f"{options.speakers} speakers with SAML, {options.each} utterances like {like}'s each"
        group = f"{options.size}, {work}, {beams} beams"
        report.compare(group, timings, reference=next(iter(timings)))


def _ours(recogniser: Any, cuts: Any, beams: int, batch_seconds: float) -> Callable[[], None]:
    from benchmarks._speech import TOKENS_PER_SECOND
    from saml.decoding.transcription import Search, transcribe

    search = Search(
        beams=beams, batch_seconds=batch_seconds, max_tokens_per_second=TOKENS_PER_SECOND, ctc_weight=0.0
    )

    def run() -> None:
        transcribe(recogniser, cuts, search)

    return run


def _theirs(recogniser: Any, cuts: Any, beams: int, options: argparse.Namespace) -> Callable[[], None]:
    from benchmarks._others import room
    from saml.features.batching import collate

    network, tokeniser = recogniser.network, recogniser.tokeniser
    network.generation_config.suppress_tokens = list(tokeniser.never)
    features = [collate([cut])[0].transpose(1, 2).to(options.device) for cut in cuts]
    rooms = [room(cut) for cut in cuts]

    def run() -> None:
        for own, most in zip(features, rooms, strict=True):
            network.generate(input_features=own, num_beams=beams, do_sample=False, max_new_tokens=most)

    return run


if __name__ == "__main__":
    main()
