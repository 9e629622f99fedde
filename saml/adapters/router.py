"""The routers: from a sequence of states to one point on the simplex per utterance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.adapters.rows import Rows

TAPS = 3


class AdapterLinear(nn.Module):
    """A linear map with few outputs for each adapter: `(rows, in)` to `(rows, out)`.

    All adapters start with the same weights, drawn as `nn.Linear` draws them.
    """

    def __init__(self, inputs: int, outputs: int, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        one = nn.Linear(inputs, outputs)
        self.weight, self.bias = repeated(one.weight, rows.adapters), repeated(one.bias, rows.adapters)

    def forward(self, x: Tensor) -> Tensor:
        """Each row through the map of its adapter."""
        weight, bias = self.rows.select(self.weight, len(x)), self.rows.select(self.bias, len(x))
        return (weight @ x[..., None])[..., 0] + bias


class PooledConvolution(nn.Module):
    """A convolution over time whose frames c(x) are pooled by attention, which needs none of them.

    Scores a . c(x)_t and the mean sum_t w_t c(x)_t are linear in c(x). So the score is a convolution with a
    single output, whose kernel is a . W, and the mean is W applied to the mean of what each tap sees:

        a . c(x)_t         = sum_k (a . W_k) . x_(t+k-1) + a . b
        sum_t w_t c(x)_t   = sum_k W_k (sum_t w_t x_(t+k-1)) + b        for weights w that sum to 1

    In place of the `width` x `width` x 3 products per frame, a quarter of what a layer of the encoder
    computes besides, that is `width` x 6. Weights of several adapters are too large to be copied for each
    row, so rows of the same adapter are multiplied together.

    Attributes:
        weight: `(adapters, width, width, taps)`, bias `(adapters, width)`; attention: a and its bias,
            `(adapters, 1, width)` and `(adapters, 1)`, held by the router.
    """

    def __init__(self, width: int, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        one = nn.Conv1d(width, width, kernel_size=TAPS, padding=TAPS // 2)
        assert one.bias is not None
        self.weight, self.bias = repeated(one.weight, rows.adapters), repeated(one.bias, rows.adapters)

    def pooled(self, states: Tensor, mask: Tensor, attention: AdapterLinear) -> Tensor:
        """`(rows, time, width)`, zeros where `mask` `(rows, time)` is not set, to `(rows, width)`."""
        count = len(states)
        weight, bias = self.rows.present(self.weight, count), self.rows.present(self.bias, count)
        direction = self.rows.present(attention.weight, count)  # (present, 1, width)
        kernels = torch.bmm(direction, weight.flatten(2)).view(len(weight), *weight.shape[2:])
        # The same for all frames: softmax leaves the constants out, and the parameters stay in use.
        constants = torch.bmm(direction, bias[..., None])[:, 0] + self.rows.present(attention.bias, count)
        scores = _sum_of_taps(states @ self.rows.spread(kernels, count)) + self.rows.spread(constants, count)
        weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
        seen = self.rows.together(_seen_by_taps(states, weights).flatten(1))
        means = torch.baddbmm(bias[:, None], seen, weight.flatten(2).transpose(1, 2))
        return self.rows.apart(means, count)


class Router(nn.Module):
    """Conv1d, attention pooling over real frames, a linear map to the experts, softmax (SAML: router).

    Padding is zeroed before the convolution, which itself pads with zeros, so an utterance gets the same
    route alone and in any batch.
    """

    def __init__(self, width: int, experts: int, rows: Rows, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.convolution = PooledConvolution(width, rows)
        self.attention = AdapterLinear(width, 1, rows)
        self.output = AdapterLinear(width, experts, rows)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States `(rows, time, width)` and their mask `(rows, time)` to weights `(rows, experts)`."""
        pooled = _pool(self.convolution, self.attention, states, mask)
        return torch.softmax(self.output(pooled) / self.temperature, dim=-1)


class CrossRouter(nn.Module):
    """The released router of cross-attention: decoder and encoder states pooled apart, then concatenated."""

    def __init__(self, width: int, experts: int, rows: Rows, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.convolution = PooledConvolution(width, rows)
        self.attention = AdapterLinear(width, 1, rows)
        self.encoder_convolution = PooledConvolution(width, rows)
        self.encoder_attention = AdapterLinear(width, 1, rows)
        self.output = AdapterLinear(2 * width, experts, rows)

    def forward(self, states: Tensor, mask: Tensor, encoder: Tensor) -> Tensor:
        """Decoder states `(rows, tokens, width)`, their mask, pooled encoder states: to `(rows, experts)`."""
        pooled = torch.cat([_pool(self.convolution, self.attention, states, mask), encoder], dim=-1)
        return torch.softmax(self.output(pooled) / self.temperature, dim=-1)

    def pool_encoder(self, states: Tensor, mask: Tensor) -> Tensor:
        """Encoder states `(rows, time, width)`, pooled `(rows, width)`, for all layers and steps."""
        return _pool(self.encoder_convolution, self.encoder_attention, states, mask)


class RouteTable(nn.Module):
    """Weights that are learned for each speaker instead of being computed from speech.

    p_e = sigmoid(z_e) / sum_f sigmoid(z_f), with one z for each speaker and routed layer. All z start at
    zero, so every expert has the same weight.

    Attributes:
        logits: z, `(adapters, speakers, layers, experts)`. With one speaker it serves whoever speaks.
    """

    def __init__(self, speakers: int, layers: int, experts: int, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self.logits = nn.Parameter(torch.zeros(rows.adapters, speakers, layers, experts))

    def forward(self, speakers: Tensor | None, rows: int) -> Tensor:
        """The weights of `rows` rows, `(rows, layers, experts)`; `speakers` `(rows,)` says who speaks.

        Raises RuntimeError where there are several speakers and it is not said.
        """
        logits = self.rows.select(self.logits, rows).expand(rows, -1, -1, -1)
        if logits.shape[1] == 1:
            own = logits[:, 0]
        elif speakers is None:
            raise RuntimeError("a table of several speakers was used without saying who speaks")
        else:
            own = logits[torch.arange(rows, device=logits.device), speakers]
        strengths = torch.sigmoid(own)
        return strengths / strengths.sum(-1, keepdim=True)


def repeated(one: Tensor, adapters: int) -> nn.Parameter:
    """A parameter `(adapters, ...)` in which every slice is `one`."""
    return nn.Parameter(one.detach().expand(adapters, *one.shape).clone())


def _pool(convolution: PooledConvolution, attention: AdapterLinear, states: Tensor, mask: Tensor) -> Tensor:
    return convolution.pooled(states.masked_fill(~mask[..., None], 0.0), mask, attention)


def _sum_of_taps(taps: Tensor) -> Tensor:
    """y_t = sum_k taps_(t+k-1),k with zeros outside: `(rows, time, taps)` to `(rows, time)`."""
    time, count = taps.shape[1:]
    padded = F.pad(taps, (0, 0, count // 2, count // 2))
    return torch.stack([padded[:, k : k + time, k] for k in range(count)]).sum(0)


def _seen_by_taps(states: Tensor, weights: Tensor) -> Tensor:
    """sum_t w_t x_(t+k-1) for each tap k: states and weights `(rows, time)` to `(rows, width, taps)`."""
    time, reach = states.shape[1], TAPS // 2
    padded = F.pad(weights, (reach, reach))
    moved = torch.stack([padded[:, 2 * reach - k :][:, :time] for k in range(TAPS)], dim=-1)
    return states.transpose(1, 2) @ moved.to(states.dtype)
