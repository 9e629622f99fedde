"""Adapting several speakers: ours beside PEFT, and beside SAML written as its equation.

LoRA. transformers' Whisper with bitsandbytes' 4-bit weights and PEFT's LoRA, prepared as PEFT's documentation
tells, each batch padded to 30 s, one speaker after another. Rank, layers with adapters, batches, optimiser
and number of steps are the same for all; loading, evaluation and saving are left out for all.

SAML. Every layer computes y = W x + s (sum_e p_e B_e)(sum_f p_f A_f) x as it stands in the paper: matrices of
all experts stacked, mixed for each utterance with einsum, with torch's own dropout; routers are the same. It
is checked that both compute the same losses.

What comes from where: from the layers alone (both at 30 s), from not padding (ours at 30 s and ours with a
short silence), and from adapting all speakers in the same batches (which is there for LoRA).
"""

import argparse
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import Report, Row, arguments, interleave, prepare

RANK, ALPHA, DROPOUT, RATE, CLIP = 1, 4.0, 0.2, 1e-3, 5.0
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]  # where ours has adapters, too


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--size", default="mini", help="toy, mini (default), tiny.en or base.en")
    parser.add_argument("--like", nargs="+", default=["librispeech", "ted"], help="lengths of (both)")
    parser.add_argument("--speakers", type=int, default=2, help="(2)")
    parser.add_argument("--utterances", type=int, default=4, help="of each speaker (4)")
    parser.add_argument("--batch", type=int, default=4, help="utterances of a speaker in a batch (4)")
    parser.add_argument("--passes", type=int, default=1, help="over a speaker's utterances (1)")
    parser.add_argument("--experts", type=int, default=10, help="of SAML (10)")
    parser.add_argument("--tail-seconds", type=float, default=1.0, help="of silence heard by ours (1)")
    options = parser.parse_args(given)
    prepare(options)
    import torch

    torch.set_num_threads(options.threads)
    report = Report("adaptation", "how much sooner are several speakers adapted, and why?", options)
    for like in options.like:
        with tempfile.TemporaryDirectory() as folder:
            _compare(report, like, options, Path(folder))
    report.finish()


def _compare(report: Report, like: str, options: argparse.Namespace, folder: Path) -> None:
    from saml.adapters import AdapterSpec

    lora = AdapterSpec(experts=1, feed_forward_experts=1, rank=RANK, alpha=ALPHA, dropout=DROPOUT)
    saml = AdapterSpec(
        experts=options.experts,
        feed_forward_experts=1,
        rank=RANK,
        alpha=ALPHA,
        dropout=DROPOUT,
        routed=True,
    )
    data = {tail: _Data(like, tail, options, folder) for tail in (None, options.tail_seconds)}
    long, short = data[None], data[options.tail_seconds]
    group = f"{options.size}, {options.speakers} x {options.utterances} utterances like {like}'s"
    padded, cut = "ours, 30 s", f"ours, {options.tail_seconds:g} s of silence"
    peft, together = "PEFT, 4 bits, 30 s", f"{cut}, speakers together"
    timings = interleave(
        {
            peft: _peft(long, options, folder),
            padded: _ours(long, lora, options),
            cut: _ours(short, lora, options),
            together: _together(short, options),
        },
        repeats=options.repeats,
    )
    rows = report.compare(f"LoRA: {group}", timings, reference=peft)
    _explain(report, rows, [("the layers and weights", padded), ("not padding", cut), ("batching", together)])
    equation = "equation, 30 s"
    timings = interleave(
        {
            equation: _ours(long, saml, options, equation=True),
            padded: _ours(long, saml, options),
            cut: _ours(short, saml, options),
        },
        repeats=options.repeats,
    )
    rows = report.compare(f"SAML, {options.experts} experts: {group}", timings, reference=equation)
    _explain(report, rows, [("the layers", padded), ("not padding", cut)])


def _explain(report: Report, rows: dict[str, Row], steps: list[tuple[str, str]]) -> None:
    """Say by which factor each step shortens what the one before it took."""
    group = rows[steps[0][1]].group
    for kind, what in (("ratio", "seconds"), ("processor_ratio", "processor seconds")):
        before, parts = 1.0, []
        for cause, name in steps:
            ratio = getattr(rows[name], kind)
            rows[name].more[f"step, {what}"] = ratio / before
            parts.append(f"{ratio / before:.2f} from {cause}")
            before = ratio
        report.note(f"{group}, {what}: {before:.2f} times as fast = {' x '.join(parts)}")


class _Data:
    """The speakers' utterances with features padded one way, as batches for ours and for theirs."""

    def __init__(self, like: str, tail: float | None, options: argparse.Namespace, folder: Path) -> None:
        from benchmarks._models import build
        from benchmarks._speech import lengths, make_cuts
        from saml.training.examples import Examples

        self.tail = tail
        self.speakers = []
        for index in range(options.speakers):
            seconds = lengths(like, options.utterances, options.seed + index)
            name = f"{like}-{'whole' if tail is None else 'short'}-{index}"
            self.speakers.append(
                make_cuts(folder, name, seconds, seed=options.seed + index, tail_seconds=tail)
            )
        every = [cut for cuts in self.speakers for cut in cuts]
        self.examples = Examples(every, build(options.size, seed=options.seed))

    def batches(self, cuts: Any, options: argparse.Namespace, index: int) -> list[Any]:
        """The batches of a pass over one speaker."""
        from saml.features import batches

        return batches(cuts, max_utterances=options.batch, seed=options.seed, pass_index=index)


def _adapted(data: _Data, spec: Any, options: argparse.Namespace) -> Any:
    import torch

    from benchmarks._models import build
    from saml.adapters import AdaptedRecogniser

    base = build(options.size, seed=options.seed, tail_seconds=data.tail)
    adapted = AdaptedRecogniser(base, spec, seed=options.seed)
    adapted.to(torch.device(options.device))
    return adapted


def _ours(
    data: _Data, spec: Any, options: argparse.Namespace, *, equation: bool = False
) -> Callable[[], None]:
    """One speaker after another by this project's own training step."""
    from saml.training.losses import grouped_mean, utterance_losses
    from saml.training.updates import AlternatingUpdates

    adapted = _adapted(data, spec, options)
    if equation:
        _as_equation(adapted, data)
    start = adapted.state()

    def run() -> None:
        for cuts in data.speakers:
            adapted.load_state(start)
            updates = AlternatingUpdates(
                list(adapted.expert_parameters().values()),
                list(adapted.router_parameters().values()),
                learning_rate={"expert": RATE, "router": RATE},
                clip_norm=CLIP,
                interleaved=False,
            )
            adapted.train()
            for index in range(options.passes):
                for chosen in data.batches(cuts, options, index):
                    batch = data.examples.batch(chosen).to(_device(options))
                    losses = utterance_losses(adapted, batch, ctc_weight=0.0).loss
                    grouped_mean(losses, batch.groups).backward()
                    updates.step(batch.groups)

    return run


def _together(data: _Data, options: argparse.Namespace) -> Callable[[], None]:
    """All speakers in the same batches, each with a LoRA of its own, clipping and moments included."""
    from torch.nn import functional as F

    from saml.adapters import AdapterSpec
    from saml.training.losses import grouped_mean, utterance_losses
    from saml.training.mixtures import joint_batches
    from saml.training.updates import SeparateUpdates

    many = options.speakers
    spec = AdapterSpec(experts=many, feed_forward_experts=many, rank=RANK, alpha=ALPHA, dropout=DROPOUT)
    adapted = _adapted(data, spec, options)
    start, how = adapted.state(), {"batch_utterances": options.batch}

    def run() -> None:
        adapted.load_state(start)
        updates = SeparateUpdates(
            list(adapted.expert_parameters().values()), learning_rate=RATE, clip_norm=CLIP
        )
        adapted.train()
        for index in range(options.passes):
            for cuts, groups in joint_batches(data.speakers, how, options.seed, index):
                batch = data.examples.batch(cuts, groups).to(_device(options))
                adapted.fix_routes(F.one_hot(batch.groups, many).to(batch.features.dtype))
                losses = utterance_losses(adapted, batch, ctc_weight=0.0).loss
                grouped_mean(losses, batch.groups).backward()
                updates.step(batch.groups)

    return run


def _peft(data: _Data, options: argparse.Namespace, folder: Path) -> Callable[[], None]:
    """The usual recipe. Gradient checkpointing, its default, is off: it would cost a third more time."""
    import torch

    from benchmarks._models import load_4bit, write_theirs

    # isort: split
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from peft.tuners.lora import LoraLayer

    stored = write_theirs(options.size, folder / "theirs", seed=options.seed)
    quantised = load_4bit(stored, options.device)
    base = prepare_model_for_kbit_training(quantised, use_gradient_checkpointing=False)
    how = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=PROJECTIONS)
    model = get_peft_model(base, how)
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def run() -> None:
        for cuts in data.speakers:
            for layer in layers:
                layer.reset_lora_parameters("default", True)
            optimiser = torch.optim.AdamW(trained, lr=RATE)
            model.train()
            for index in range(options.passes):
                for chosen in data.batches(cuts, options, index):
                    batch = data.examples.batch(chosen).to(_device(options))
                    features = batch.features.transpose(1, 2)
                    model(input_features=features, labels=batch.targets).loss.backward()
                    torch.nn.utils.clip_grad_norm_(trained, CLIP)
                    optimiser.step()
                    optimiser.zero_grad()

    return run


def _as_equation(adapted: Any, data: _Data) -> None:
    """Put the equation in the place of our layers' arithmetic; refuse it if it computes something else."""
    import torch

    from saml.training.losses import utterance_losses

    state = adapted.state()
    for parameter in adapted.expert_parameters().values():
        torch.nn.init.normal_(parameter.data, std=0.02)  # else all B are zero and nothing would show
    batch = data.examples.batch(data.speakers[0][:2]).to(
        next(iter(adapted.expert_parameters().values())).device
    )
    with torch.no_grad():
        ours = utterance_losses(adapted, batch, ctc_weight=0.0).loss
        for layer in adapted.layers.values():
            layer.forward = types.MethodType(_equation, layer)
            layer.dropout = torch.nn.Dropout(DROPOUT).eval()
        theirs = utterance_losses(adapted, batch, ctc_weight=0.0).loss
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
    adapted.load_state(state)


def _equation(self: Any, x: Any) -> Any:
    """y = W x + s (sum_e p_e B_e)(sum_f p_f A_f) x, `(batch, time, in)` to `(batch, time, out)`."""
    import torch

    p = self.route.rows(len(x)) if self.experts > 1 else x.new_ones(len(x), 1)
    a = torch.einsum("be,eri->bri", p, self.down)
    b = torch.einsum("be,eor->bor", p, self.up)
    low = torch.einsum("bri,bti->btr", a, self.dropout(x))
    return self.base(x) + self.scaling * torch.einsum("bor,btr->bto", b, low)


def _device(options: argparse.Namespace) -> Any:
    import torch

    return torch.device(options.device)


if __name__ == "__main__":
    main()
