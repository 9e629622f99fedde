"""One training step of a configuration's base model at its full size, in 32 bits and in bfloat16.

Losses, gradients and an AdamW step on utterances of one length, as `saml train-base` takes them. The seconds
of speech in a step are few by default, and bfloat16 is left to GPUs, for a CPU's sake. On a GPU give it what
the configuration says (`--device cuda --seconds 600`, its batch_seconds), and see whether that fits.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / "config" / "librispeech-conformer.yaml"
CHARACTERS_PER_SECOND = 14  # in read English


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--configfile", type=Path, default=DEFAULT, help="(config/librispeech-conformer.yaml)"
    )
    parser.add_argument("--seconds", type=float, default=24.0, help="of speech in a step (24)")
    parser.add_argument("--utterance", type=float, default=12.0, help="seconds of each utterance (12)")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), help="(fp32; on cuda both)")
    options = parser.parse_args(given)
    options.precision = options.precision or (["fp32", "bf16"] if options.device == "cuda" else ["fp32"])
    prepare(options)
    import torch

    from saml.config.load import load
    from saml.models.build import build
    from saml.models.recogniser import as_module
    from saml.models.store import stored
    from saml.training.losses import utterance_losses
    from saml.training.optim import WarmUpUpdates

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    config = load([ROOT / "config" / "config.yaml", options.configfile])
    how, chance = config["base_training"], random.Random(options.seed)
    recogniser = build(config["model"], [_text(chance, 200) for _ in range(400)])
    module = as_module(recogniser).to(options.device).train()
    batch = _batch(recogniser, options, chance)
    updates = WarmUpUpdates(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        steps=1000,
        **{
            key: how[key]
            for key in ("learning_rate", "weight_decay", "warm_up_share", "clip_norm", "schedule")
        },
    )

    def step(precision: str) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast(options.device, torch.bfloat16, enabled=precision == "bf16"):
                losses = utterance_losses(
                    recogniser, batch, ctc_weight=how["ctc_weight"], label_smoothing=how["label_smoothing"]
                ).loss
            losses.mean().backward()
            updates.step(torch.tensor([0]))
            if not losses.isfinite().all():
                raise SystemExit(f"{precision}: a loss is not finite")

        return run

    timings = interleave({name: step(name) for name in options.precision}, repeats=options.repeats)
    report = Report("full_size_step", f"what does a step of {options.configfile.stem} cost?", options)
    heard = len(batch.utterances) * options.utterance
    report.compare(f"{heard:g} s of speech", timings, reference=options.precision[0])
    numbers = sum(tensor.numel() for tensor in stored(recogniser).values())
    report.note(f"{numbers / 1e6:.1f} M numbers, {recogniser.tokeniser.size} tokens.")
    report.note(
        f"Weights, {4 * numbers / 1e6:.0f} MB, were there before; gradients and moments, "
        f"{12 * numbers / 1e6:.0f} MB, are part of what a step took."
    )
    report.finish()


def _batch(recogniser: Any, options: argparse.Namespace, chance: random.Random) -> Any:
    """Noise with as many tokens as read English has."""
    import torch

    from saml.training.data import Batch

    count, frames = max(1, round(options.seconds / options.utterance)), round(options.utterance * 100)
    text = _text(chance, round(options.utterance * CHARACTERS_PER_SECOND))
    ids = recogniser.tokeniser.encode(text)
    inputs = torch.tensor([[*recogniser.tokeniser.prompt, *ids]] * count)
    batch = Batch(
        utterances=[str(index) for index in range(count)],
        features=torch.randn(count, frames, 80),
        lengths=torch.full((count,), frames),
        inputs=inputs,
        targets=torch.tensor([[*ids, recogniser.tokeniser.end]] * count),
    )
    return batch.to(torch.device(options.device))


def _text(chance: random.Random, characters: int) -> str:
    """Words of drawn letters."""
    words = ""
    while len(words) < characters:
        words += "".join(chance.choices("etaoinshrdlucmfwypvbgkjqxz", k=chance.randint(2, 9))) + " "
    return words[:characters].strip()


if __name__ == "__main__":
    main()
