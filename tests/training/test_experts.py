"""E experts initialised together, as adapters of their own, are E LoRAs trained apart."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.models.recogniser import Recogniser
from saml.training.data import IGNORED, Batch
from saml.training.losses import utterance_losses
from saml.training.optim import AdapterUpdates

SPEC = AdapterSpec(experts=1, feed_forward_experts=1, rank=1, alpha=4.0, dropout=0.0, routed=False)


def batch(seed: int, size: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
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
    )


def only(whole: Batch, rows: list[int]) -> Batch:
    return Batch(
        utterances=[whole.utterances[row] for row in rows],
        features=whole.features[rows],
        lengths=whole.lengths[rows],
        inputs=whole.inputs[rows],
        targets=whole.targets[rows],
    )


def train(model: AdaptedRecogniser, steps: list[tuple[Batch, list[int]]]) -> list[torch.Tensor]:
    """Losses by step; the mean over its own rows trains each adapter."""
    parameters = list(model.expert_parameters().values())
    updates = AdapterUpdates(
        parameters, [], learning_rate={"expert": 0.01}, clip_norm=0.5, decay=1.0, interleaved=True
    )
    losses = []
    for part, adapters in steps:
        model.assign(adapters)
        each = utterance_losses(model, part, ctc_weight=0.3).loss
        indices = torch.tensor(adapters)
        sum(each[indices == adapter].mean() for adapter in set(adapters)).backward()
        updates.step(indices)
        losses.append(each.detach())
    return losses


def test_experts_trained_together_equal_experts_trained_apart(
    make_recogniser: Callable[[], Recogniser],
) -> None:
    """Unequal numbers of rows, an adapter absent now and then; losses and weights agree to 1e-5."""
    together = AdaptedRecogniser(make_recogniser(), SPEC, seed=1, adapters=2, independent=True)
    start = [together.state(index) for index in range(2)]
    steps = [[0, 0, 1, 1, 1], [0, 0], [1, 0, 0], [1, 1]]
    batches = [(batch(seed, len(adapters)), adapters) for seed, adapters in enumerate(steps)]
    losses = train(together, batches)
    for index in range(2):
        alone = AdaptedRecogniser(make_recogniser(), SPEC, seed=2)
        alone.load_state(start[index])
        rows = [[row for row, own in enumerate(adapters) if own == index] for adapters in steps]
        own = [
            (only(part, mine), [0] * len(mine)) for (part, _), mine in zip(batches, rows, strict=True) if mine
        ]
        expected = train(alone, own)
        found = [each[mine] for each, mine in zip(losses, rows, strict=True) if mine]
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        for name, tensor in alone.state().items():
            torch.testing.assert_close(together.state(index)[name], tensor, atol=1e-4, rtol=1e-3)


def test_independent_adapters_are_the_experts_of_one_mixture(
    make_recogniser: Callable[[], Recogniser],
) -> None:
    """The same seed draws the same A for E adapters of one expert and for one adapter of E experts."""
    apart = AdaptedRecogniser(make_recogniser(), SPEC, seed=3, adapters=2, independent=True)
    mixture = AdapterSpec(**{**SPEC.as_dict(), "experts": 2, "feed_forward_experts": 2})
    state = AdaptedRecogniser(make_recogniser(), mixture, seed=3).state()
    for name, tensor in state.items():
        assert torch.equal(torch.cat([apart.state(index)[name] for index in range(2)]), tensor)
        assert name.endswith(".up") or not torch.equal(tensor[0], tensor[1])
