"""Whisper (transformers' own network), with a CTC head on request for training one from scratch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saml.compat.torchaudio import ensure
from saml.models.recogniser import Encoded, Tokeniser
from saml.runtime.errors import SamlError

ensure()
from transformers.modeling_outputs import BaseModelOutput  # noqa: E402
from transformers.models.whisper import WhisperConfig, WhisperForConditionalGeneration  # noqa: E402

_PROJECTIONS = r"\.(?:q|k|v|out)_proj"
_STACK = r"network\.model\.(?:encoder|decoder)\.layers\.\d+"
_ENCODER_POSITIONS = "network.model.encoder.embed_positions.weight"
_FRAMES_A_SECOND = 100
_STRIDE = 2  # of the second convolution: features to encoder frames


class WhisperRecogniser(nn.Module):
    """Whisper's log-mel features to tokens: an encoder of a fixed context, and an attention decoder.

    The network attends to the silence after an utterance, as it was trained to: up to the end of its context
    (`features.pad_seconds`), or for `features.tail_seconds` only, the rest being masked, which transformers'
    Whisper cannot do. Then an utterance costs what its own length costs. What looks at encoder states from
    outside (routers, CTC) is kept to the frames of the utterance.

    Positions of the encoder are fixed sinusoids, so they are neither trained nor stored; those of the decoder
    are learned.
    """

    family = "whisper"
    routed_by_input = False  # only adapters are routed
    # Where adapters go: regular expressions of whole module names, by kind of routing.
    sites = {
        "encoder_self": r"network\.model\.encoder\.layers\.\d+\.self_attn" + _PROJECTIONS,
        "decoder_self": r"network\.model\.decoder\.layers\.\d+\.self_attn" + _PROJECTIONS,
        "cross": r"network\.model\.decoder\.layers\.\d+\.encoder_attn" + _PROJECTIONS,
        "feed_forward": _STACK + r"\.fc[12]",
    }
    # Parameters that stay as they are when the model is quantised, and tensors that are computed, not stored.
    positions: tuple[str, ...] = (_ENCODER_POSITIONS, "network.model.decoder.embed_positions.weight")
    computed: tuple[str, ...] = (_ENCODER_POSITIONS,)

    def __init__(self, settings: Mapping[str, Any], tokeniser: Tokeniser) -> None:
        super().__init__()
        # Where a network comes from is no part of what it is.
        self.settings = {key: value for key, value in settings.items() if key != "checkpoint"}
        self.tokeniser = tokeniser
        self.network = WhisperForConditionalGeneration(network_config(settings, tokeniser))
        self.ctc_head = nn.Linear(self.width, tokeniser.size) if settings["ctc_head"] else None
        self._attended: Tensor | None = None
        self._tail: float | None = self.settings["features"]["tail_seconds"]
        for layer in self.network.model.decoder.layers:
            layer.encoder_attn.register_forward_pre_hook(self._hide, with_kwargs=True)
        self.fill_computed()

    def fill_computed(self) -> None:
        """Compute the encoder's positions, which are neither trained nor stored."""
        encoder = self.network.model.encoder.embed_positions
        positions = sinusoids(*encoder.weight.shape, rounded_to=self.settings.get("positions", "float32"))
        encoder.weight = nn.Parameter(positions, requires_grad=False)

    @property
    def has_ctc(self) -> bool:
        """Whether there is a CTC head."""
        return self.ctc_head is not None

    @property
    def width(self) -> int:
        """Size of an encoder state."""
        return int(self.settings["hidden_size"])

    @property
    def max_tokens(self) -> int:
        """The longest decoder input that there are positions for, prompt included."""
        return int(self.settings["max_target_positions"])

    @property
    def whole_frames(self) -> int | None:
        """Feature frames of the whole context."""
        return _STRIDE * source_positions(self.settings)

    def use_whole_context(self, whole: bool) -> None:
        """Pad to the whole context, or as the settings say; see `Recogniser`."""
        self._tail = None if whole else self.settings["features"]["tail_seconds"]

    def assign(
        self, adapters: Sequence[int], tokens: Tensor | None = None, speakers: Sequence[str] = ()
    ) -> None:
        """Nothing: there are no adapters."""

    def frame_mask(self, lengths: Tensor) -> Tensor:
        """Which encoder frames hold the utterance: `(batch, context)` bool, from feature lengths `(batch,)`.

        The frames of silence after it are left out, although the network attends to them.
        """
        out = -(-lengths // _STRIDE)
        context = torch.arange(int(self._context(lengths).max()), device=lengths.device)
        return context < out[:, None]

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Run the encoder on `(batch, time, bins)` features of which `lengths` `(batch,)` hold the utterance.

        Features are cut or filled with silence to the context. Raises SamlError where an utterance is longer.
        """
        if self._tail is None:
            fitted = self._fit(features, lengths, source_positions(self.settings)).transpose(1, 2)
            states = self.network.model.encoder(fitted).last_hidden_state  # of (batch, bins, features)
            return Encoded(states, self.frame_mask(lengths))
        context = self._context(lengths)
        attended = torch.arange(int(context.max()), device=lengths.device) < context[:, None]
        states = self._encode_masked(features, lengths, attended)
        return Encoded(states, self.frame_mask(lengths), attended)

    def _encode_masked(self, features: Tensor, lengths: Tensor, attended: Tensor) -> Tensor:
        """transformers' encoder on as many positions as `attended` has; each row attends to its own only."""
        encoder = self.network.model.encoder
        # One position more: the convolutions of the last one meet silence in any batch, never an edge.
        hidden = self._fit(features, lengths, attended.shape[1] + 1).transpose(1, 2)
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(hidden))))[..., :-1].transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: attended.shape[1]]
        hidden = F.dropout(hidden, p=encoder.dropout, training=encoder.training)
        for layer in encoder.layers:
            hidden = layer(hidden, attended[:, None, None, :])
        return encoder.layer_norm(hidden)

    def _context(self, lengths: Tensor) -> Tensor:
        """Encoder frames that the network attends to for each utterance, `(batch,)`."""
        whole = source_positions(self.settings)
        if self._tail is None:
            return torch.full_like(lengths, whole)
        return (-(-(lengths + round(self._tail * _FRAMES_A_SECOND)) // _STRIDE)).clamp(max=whole)

    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Teacher-forced next-token logits `(batch, tokens, vocabulary)` of inputs `(batch, tokens)`."""
        self._attended = encoded.attended
        output = self.network(
            encoder_outputs=BaseModelOutput(encoded.states), decoder_input_ids=tokens, use_cache=False
        )
        return output.logits

    def _hide(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        """Before each cross-attention: mask the frames outside the context; beams repeat each utterance."""
        if self._attended is None:
            return None
        repeats = len(args[0]) // len(self._attended)
        attended = self._attended.repeat_interleave(repeats, dim=0)
        return args, {**kwargs, "attention_mask": attended[:, None, None, :]}

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """CTC logits `(batch, encoder time, vocabulary)`; the tokeniser's padding is the blank."""
        if self.ctc_head is None:
            raise SamlError("this Whisper has no CTC head: set ctc_weight to 0, or train with ctc_head: true")
        return self.ctc_head(encoded.states)

    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]:
        """What the network gets in place of features when a search goes token by token: next of all."""
        self._attended = encoded.attended
        return {"encoder_outputs": BaseModelOutput(encoded.states)}

    def describe(self) -> dict[str, Any]:
        """What `saml.models.build.rebuild` needs to build the same recogniser, weights apart."""
        return {"family": self.family, "settings": self.settings, "tokeniser": self.tokeniser.describe()}

    def _fit(self, features: Tensor, lengths: Tensor, positions: int) -> Tensor:
        """Features of exactly so many encoder positions, `(batch, 2 positions, bins)`."""
        whole, longest = _STRIDE * source_positions(self.settings), int(lengths.max())
        if longest > whole:
            raise SamlError(
                f"an utterance of {longest / _FRAMES_A_SECOND:g} s is longer than the model's "
                f"{whole / _FRAMES_A_SECOND:g} s: raise model.whisper.features.pad_seconds, lower "
                "base_training.time_stretch, or leave the utterance out"
            )
        missing = max(0, _STRIDE * positions - features.shape[1])
        # The least value of an utterance's features is their floor, which is what they have in silence.
        silence = features.amin(dim=(1, 2))[:, None, None].expand(-1, missing, features.shape[2])
        return torch.cat([features[:, : _STRIDE * positions], silence], dim=1)


def source_positions(settings: Mapping[str, Any]) -> int:
    """Encoder frames of the context."""
    return round(settings["features"]["pad_seconds"] * _FRAMES_A_SECOND) // _STRIDE


def network_config(settings: Mapping[str, Any], tokeniser: Tokeniser) -> WhisperConfig:
    """The transformers configuration of a config's `model.whisper` section."""
    dropout = settings["dropout"]
    return WhisperConfig(
        vocab_size=tokeniser.size,
        num_mel_bins=settings["features"]["bins"],
        d_model=settings["hidden_size"],
        encoder_layers=settings["encoder_layers"],
        decoder_layers=settings["decoder_layers"],
        encoder_attention_heads=settings["heads"],
        decoder_attention_heads=settings["heads"],
        encoder_ffn_dim=settings["encoder_feed_forward"],
        decoder_ffn_dim=settings["decoder_feed_forward"],
        max_source_positions=source_positions(settings),
        max_target_positions=settings["max_target_positions"],
        dropout=dropout,
        activation_dropout=dropout,
        attention_dropout=dropout,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        pad_token_id=tokeniser.pad,
        bos_token_id=tokeniser.prompt[0],
        decoder_start_token_id=tokeniser.prompt[0],
        eos_token_id=tokeniser.end,
        # Tokens of Whisper's own vocabulary that generation would otherwise suppress.
        suppress_tokens=None,
        begin_suppress_tokens=None,
        tie_word_embeddings=True,
    )


def sinusoids(length: int, dim: int, *, rounded_to: str = "float32") -> Tensor:
    """Whisper's encoder positions `(length, dim)`, float32: sines, then cosines, of rates from 1 to 1/10000.

    Published weights hold them rounded to a shorter float type, `rounded_to`; taking the same keeps results
    the same. Computed in double precision, so that rounding gives the same everywhere.
    """
    half = torch.arange(dim // 2, dtype=torch.float64)
    rates = 10000.0 ** (-half / (dim // 2 - 1))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    positions = torch.cat([angles.sin(), angles.cos()], dim=1)
    return positions.to(getattr(torch, rounded_to)).float()
