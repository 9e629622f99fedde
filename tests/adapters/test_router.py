"""The router against its definition, written for one utterance without any padding."""

import torch
from torch.nn import functional as F

from saml.adapters import Router, Rows
from saml.adapters.router import AdapterLinear, CrossRouter, PooledConvolution


def by_definition(router: Router, states: torch.Tensor, adapter: int = 0) -> torch.Tensor:
    """One utterance's `(time, width)` states to its weights, frame by frame."""
    padded = F.pad(states, (0, 0, 1, 1))
    kernel, bias = router.convolution.weight[adapter], router.convolution.bias[adapter]  # (out, in, 3)
    attention, output = router.attention, router.output
    frames = [sum(kernel[:, :, k] @ padded[time + k] for k in range(3)) + bias for time in range(len(states))]
    scores = [attention.weight[adapter, 0] @ frame + attention.bias[adapter, 0] for frame in frames]
    total = sum(score.exp() for score in scores)
    pooled = sum(score.exp() / total * frame for score, frame in zip(scores, frames, strict=True))
    logits = (output.weight[adapter] @ pooled + output.bias[adapter]) / router.temperature
    return logits.exp() / logits.exp().sum()


def test_equals_its_definition_whatever_the_padding() -> None:
    torch.manual_seed(5)
    router = Router(6, 4, Rows(1), temperature=0.5)
    lengths = [9, 5, 1]
    states = 3 * torch.randn(3, 9, 6)  # padded frames hold noise, not zeros
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    weights = router(states, mask)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(weights[row], by_definition(router, states[row, :length]))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert (weights[0] - weights[1]).abs().max() > 0.001  # it does look at the utterance


def test_the_released_cross_router_pools_decoder_and_encoder_apart() -> None:
    """Two pooled vectors side by side; the three released routers of Whisper base.en weigh 3.17 million."""
    torch.manual_seed(5)
    router = CrossRouter(6, 4, Rows(1), temperature=0.5)
    decoder, encoder = torch.randn(2, 5, 6), torch.randn(2, 9, 6)
    mask = torch.arange(9) < torch.tensor([9, 4])[:, None]
    every = torch.ones(2, 5, dtype=torch.bool)
    weights = router(decoder, every, router.pool_encoder(encoder, mask))

    def pooled(
        convolution: PooledConvolution, attention: AdapterLinear, states: torch.Tensor
    ) -> torch.Tensor:
        frames = F.conv1d(states.T[None], convolution.weight[0], convolution.bias[0], padding=1)[0].T
        scores = F.linear(frames, attention.weight[0], attention.bias[0])
        return (scores.softmax(dim=0) * frames).sum(dim=0)

    for row, length in enumerate((9, 4)):
        both = [
            pooled(router.convolution, router.attention, decoder[row]),
            pooled(router.encoder_convolution, router.encoder_attention, encoder[row, :length]),
        ]
        logits = router.output.weight[0] @ torch.cat(both) + router.output.bias[0]
        torch.testing.assert_close(weights[row], (logits / 0.5).softmax(dim=0))
    released = [kind(512, 10, Rows(1)) for kind in (Router, Router, CrossRouter)]
    assert round(sum(p.numel() for r in released for p in r.parameters()) / 1e6, 2) == 3.17


def test_what_is_pooled_has_the_gradients_of_the_convolution_itself() -> None:
    """The pooled vector, and what reaches states and parameters, by torch's own convolution."""
    torch.manual_seed(5)
    rows = Rows(1)
    made, attention = PooledConvolution(6, rows), AdapterLinear(6, 1, rows)
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    states, direction = torch.randn(2, 7, 6).masked_fill(~mask[..., None], 0.0), torch.randn(2, 6)
    outcomes = []
    for by_convolution in (False, True):
        x = states.clone().requires_grad_()
        if by_convolution:
            frames = F.conv1d(x.transpose(1, 2), made.weight[0], made.bias[0], padding=1).transpose(1, 2)
            scores = (
                F.linear(frames, attention.weight[0], attention.bias[0])
                .squeeze(-1)
                .masked_fill(~mask, -torch.inf)
            )
            pooled = (scores.softmax(dim=1)[..., None] * frames).sum(dim=1)
        else:
            pooled = made.pooled(x, mask, attention)
        wanted = [x, made.weight, made.bias, attention.weight]
        outcomes.append((pooled, *torch.autograd.grad((pooled * direction).sum(), wanted)))
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_every_row_is_routed_by_its_own_adapter() -> None:
    torch.manual_seed(5)
    rows = Rows(3)
    router = Router(6, 4, rows)
    for parameter in router.parameters():
        torch.nn.init.normal_(parameter)
    assigned = [2, 0, 2]
    rows.assign(assigned, torch.device("cpu"))
    states, mask = torch.randn(3, 7, 6), torch.ones(3, 7, dtype=torch.bool)
    weights = router(states, mask)
    for row, adapter in enumerate(assigned):
        torch.testing.assert_close(weights[row], by_definition(router, states[row], adapter))
