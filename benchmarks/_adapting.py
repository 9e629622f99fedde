"""Ways to adapt to several speakers, to be timed: PEFT's, the equation as printed, and ours."""

import argparse
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from lhotse import MonoCut
from torch.nn import functional as F

from benchmarks._models import build, load_4bit, write_theirs
from benchmarks._speech import lengths, make_cuts
from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.features.batching import batches
from saml.models.recogniser import as_module
from saml.tracking import RunRecord
from saml.training.data import Batch, Examples
from saml.training.engine import Training
from saml.training.losses import utterance_losses
from saml.training.optim import AdapterUpdates
from saml.training.task import Progression, Task

RANK, ALPHA, DROPOUT, RATE, CLIP = 1, 4.0, 0.2, 1e-3, 5.0
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]  # where ours has adapters, too

Run = Callable[[], None]


def spec(experts: int = 1) -> AdapterSpec:
    """A LoRA, or with several experts a routed mixture of them in attention."""
    return AdapterSpec(
        experts=experts,
        feed_forward_experts=1,
        rank=RANK,
        alpha=ALPHA,
        dropout=DROPOUT,
        routed=experts > 1,
    )


class Data:
    """The speakers' utterances with features padded one way, as batches for ours and for theirs."""

    def __init__(self, like: str, tail: float | None, options: argparse.Namespace, folder: Path) -> None:
        self.tail = tail
        self.speakers: list[list[MonoCut]] = []
        for index in range(options.speakers):
            seconds = lengths(like, options.utterances, options.seed + index)
            name = f"{like}-{'whole' if tail is None else 'short'}-{index}"
            self.speakers.append(
                make_cuts(folder, name, seconds, seed=options.seed + index, tail_seconds=tail)
            )
        every = [cut for cuts in self.speakers for cut in cuts]
        self.examples = Examples(every, build(options.size, seed=options.seed))
        self._options = options

    def steps(self, cuts: Sequence[MonoCut]) -> Iterator[Sequence[MonoCut]]:
        """The batches of one speaker's steps, epoch after epoch."""
        how = self._options
        for index in range(how.epochs):
            yield from batches(cuts, max_utterances=how.batch, seed=how.seed, epoch=index)

    def batch(self, cuts: Sequence[MonoCut]) -> Batch:
        """The batch of these cuts, on the device."""
        return self.examples.batch(cuts).to(torch.device(self._options.device))


def precision(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """On a GPU all compute in bfloat16, where torch considers that safe; on a CPU only on request."""
    return torch.autocast(options.device, torch.bfloat16, enabled=in_bfloat16(options))


def in_bfloat16(options: argparse.Namespace) -> bool:
    """Whether a contender with these options computes in bfloat16."""
    return bool(options.device == "cuda" or options.bfloat16)


def one_by_one(data: Data, what: AdapterSpec, options: argparse.Namespace, *, equation: bool = False) -> Run:
    """One speaker after another, each batch as it comes: padded to its longest utterance, or to 30 s."""
    base = build(options.size, seed=options.seed, tail_seconds=data.tail)
    adapted = AdaptedRecogniser(base, what, seed=options.seed)
    adapted.to(torch.device(options.device))
    if equation:
        _as_equation(adapted, data)
    start, only = adapted.state(), torch.tensor([0], device=options.device)

    def run() -> None:
        for cuts in data.speakers:
            adapted.load_state(start)
            updates = _updates(adapted)
            adapted.train()
            for chosen in data.steps(cuts):
                batch = data.batch(chosen)
                with precision(options):
                    losses = utterance_losses(adapted, batch, ctc_weight=0.0).loss
                losses.mean().backward()
                updates.step(only)

    return run


def bare(data: Data, options: argparse.Namespace) -> Run:
    """The base's own products and nothing else: forward, and backward to where the first adapter would be.

    Every adaptation computes at least these. A norm's bias requires a gradient, so that there is a backward.
    """
    base = build(options.size, seed=options.seed, tail_seconds=data.tail)
    as_module(base).to(torch.device(options.device)).requires_grad_(False)
    network = base.network.model
    for layer in (network.encoder.layers[0], network.decoder.layers[0]):
        layer.self_attn_layer_norm.bias.requires_grad_(True)

    def run() -> None:
        for cuts in data.speakers:
            for chosen in data.steps(cuts):
                with precision(options):
                    utterance_losses(base, data.batch(chosen), ctc_weight=0.0).loss.sum().backward()

    return run


def engine(
    data: Data, what: AdapterSpec, options: argparse.Namespace, *, at_once: int, compiled: bool = False
) -> Run:
    """The engine of `saml adapt`, `at_once` speakers in the same batches: its own steps and nothing else.

    `compiled` has torch.compile on every layer of encoder and decoder.
    """
    base = build(options.size, seed=options.seed, tail_seconds=data.tail)
    adapted = AdaptedRecogniser(base, what, seed=options.seed, adapters=at_once)
    adapted.to(torch.device(options.device))
    start = adapted.full_state()
    if compiled:
        network = base.network.model
        for layer in [*network.encoder.layers, *network.decoder.layers]:
            layer.compile(dynamic=True)

    def run() -> None:
        for first in range(0, len(data.speakers), at_once):
            speakers = data.speakers[first : first + at_once]
            adapted.load_full_state(start)
            training = _training(adapted, data, len(speakers), options)
            progressions = [Progression(index, task) for index, task in enumerate(training.tasks)]
            adapted.train()
            for turn in zip_longest(*map(data.steps, speakers), fillvalue=()):
                training.step([(one, cuts) for one, cuts in zip(progressions, turn, strict=True) if cuts])

    return run


def _training(adapted: AdaptedRecogniser, data: Data, speakers: int, options: argparse.Namespace) -> Training:
    """An adaptation to so many speakers; budgets and dev parts are the stage's, which is not timed here."""
    record = RunRecord(stage="adapt", experiment="benchmark")
    tasks = [
        Task(
            name=f"speaker {index}",
            record=record,
            batches=lambda _: (),
            utterances=0,
            get_state=partial(adapted.state, index),
            set_state=partial(adapted.load_state, adapter=index),
        )
        for index in range(speakers)
    ]
    return Training(
        name="benchmark",
        recogniser=adapted,
        model=adapted,
        examples=data.examples,
        tasks=tasks,
        updates=_updates(adapted),
        ctc_weight=0.0,
        ctc_backend="torch",
        bfloat16=in_bfloat16(options),
        split_steps="always",
        device=torch.device(options.device),
    )


def _updates(adapted: AdaptedRecogniser) -> AdapterUpdates:
    return AdapterUpdates(
        list(adapted.expert_parameters().values()),
        list(adapted.router_parameters().values()),
        learning_rate={"expert": RATE, "router": RATE},
        clip_norm=CLIP,
        decay=1.0,
        interleaved=False,
    )


def peft(data: Data, options: argparse.Namespace, folder: Path) -> Run:
    """The usual recipe. Gradient checkpointing, its default, is off: it would cost a third more time."""
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
            for chosen in data.steps(cuts):
                batch = data.batch(chosen)
                features = batch.features.transpose(1, 2)
                with precision(options):
                    loss = model(input_features=features, labels=batch.targets).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, CLIP)
                optimiser.step()
                optimiser.zero_grad()

    return run


def _as_equation(adapted: AdaptedRecogniser, data: Data) -> None:
    """Replace our layers' and routers' arithmetic by the equations; raises where the losses differ."""
    state = adapted.state()
    for parameter in adapted.expert_parameters().values():
        torch.nn.init.normal_(parameter.data, std=0.02)  # B = 0 would hide differences
    batch = data.batch(data.speakers[0][:2])
    with torch.no_grad():
        ours = utterance_losses(adapted, batch, ctc_weight=0.0).loss
        for layer in adapted.layers.values():
            layer.forward = types.MethodType(_equation, layer)  # type: ignore[method-assign]
            layer.dropout = torch.nn.Dropout(DROPOUT).eval()  # type: ignore[assignment]
        for router in adapted.routers.values():
            router.forward = types.MethodType(_routed, router)  # type: ignore[method-assign]
        theirs = utterance_losses(adapted, batch, ctc_weight=0.0).loss
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)
    adapted.load_state(state)


def _equation(self: Any, x: torch.Tensor) -> torch.Tensor:
    """y = W x + s (sum_e p_e B_e)(sum_f p_f A_f) x, `(batch, time, in)` to `(batch, time, out)`."""
    p = self.route.current() if self.experts > 1 else x.new_ones(len(x), 1)
    a = torch.einsum("be,eri->bri", p, self.down[0])
    b = torch.einsum("be,eor->bor", p, self.up[0])
    low = torch.einsum("bri,bti->btr", a, self.dropout(x))
    added: torch.Tensor = torch.einsum("bor,btr->bto", b, low)
    plain: torch.Tensor = self.base(x)
    return plain + self.scaling * added


def _routed(self: Any, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Convolve every frame, pool by attention, softmax: `(batch, time, width)` to `(batch, experts)`."""
    masked = states.masked_fill(~mask[..., None], 0.0).transpose(1, 2)
    convolution, attention, output = self.convolution, self.attention, self.output
    frames = F.conv1d(masked, convolution.weight[0], convolution.bias[0], padding=1).transpose(1, 2)
    scores = F.linear(frames, attention.weight[0], attention.bias[0]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
    pooled = torch.einsum("bt,btw->bw", weights, frames)
    return torch.softmax(F.linear(pooled, output.weight[0], output.bias[0]) / self.temperature, dim=-1)
