"""E experts trained together by one-hot routes are E LoRAs trained apart."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.models.recogniser import Recogniser
from saml.training.batch import IGNORED, Batch
from saml.training.losses import grouped_mean, utterance_losses
from saml.training.optim import SeparateUpdates

SPEC = AdapterSpec(experts=2, feed_forward_experts=2, rank=1, alpha=4.0, dropout=0.0, routed=False)
ALONE = AdapterSpec(experts=1, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=False)


def batch(seed: int, groups: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = len(groups)
    tokens = torch.randint(3, 31, (size, 6), generator=generator)
    lengths = torch.randint(40, 81, (size,), generator=generator)
    targets = tokens.clone()
    targets[1:, 4:] = IGNORED
    return Batch(
        utterances=[str(index) for index in range(size)],
        features=torch.randn(size, 80, 80, generator=generator),
        lengths=lengths,
        inputs=F.pad(tokens[:, :-1], (1, 0), value=1),
        targets=targets,
        groups=torch.tensor(groups),
    )


def only(whole: Batch, group: int) -> Batch:
    rows = whole.groups == group
    return Batch(
        utterances=[u for u, keep in zip(whole.utterances, rows, strict=True) if keep],
        features=whole.features[rows],
        lengths=whole.lengths[rows],
        inputs=whole.inputs[rows],
        targets=whole.targets[rows],
        groups=torch.zeros(int(rows.sum()), dtype=torch.long),
    )


def test_one_hot_training_equals_separate_training(make_recogniser: Callable[[], Recogniser]) -> None:
    """Unequal groups, one of them absent now and then; losses and weights agree to 1e-5."""
    joint = AdaptedRecogniser(make_recogniser(), SPEC, seed=1)
    start = joint.state()
    steps = [batch(1, [0, 0, 1, 1, 1]), batch(2, [0, 0]), batch(3, [1, 0, 0]), batch(4, [1, 1])]

    def train(recogniser: AdaptedRecogniser, parts: list[Batch], *, routed: bool) -> list[torch.Tensor]:
        parameters = list(recogniser.expert_parameters().values())
        updates = SeparateUpdates(parameters, learning_rate=0.01, clip_norm=0.5)
        losses = []
        for part in parts:
            if routed:
                recogniser.fix_routes(F.one_hot(part.groups, 2).float())
            each = utterance_losses(recogniser, part, ctc_weight=0.3).loss
            grouped_mean(each, part.groups).backward()
            updates.step(part.groups)
            losses.append(each.detach())
        return losses

    together = train(joint, steps, routed=True)
    for expert in range(2):
        alone = AdaptedRecogniser(make_recogniser(), ALONE, seed=2)
        alone.load_state({name: tensor[expert : expert + 1] for name, tensor in start.items()})
        present = [step for step in steps if (step.groups == expert).any()]
        own = train(alone, [only(step, expert) for step in present], routed=False)
        matching = [
            losses[step.groups == expert]
            for losses, step in zip(together, steps, strict=True)
            if (step.groups == expert).any()
        ]
        for ours, theirs in zip(matching, own, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        for name, tensor in alone.state().items():
            torch.testing.assert_close(joint.state()[name][expert], tensor[0], atol=1e-5, rtol=1e-4)
