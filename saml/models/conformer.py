"""The Conformer attention encoder-decoder (transformers' CohereAsr), with a CTC head for training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saml.compat.torchaudio import ensure
from saml.models.lengths import CONFORMER_POSITIONS, HALVINGS
from saml.models.recogniser import Encoded, Tokeniser

ensure()
from transformers.models.cohere_asr import CohereAsrConfig, CohereAsrForConditionalGeneration  # noqa: E402
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput  # noqa: E402

_PROJECTIONS = r"\.(?:q|k|v|o)_proj"
_HALVINGS = HALVINGS["conformer"]


class ConformerRecogniser(nn.Module):
    """Log-mel features to text: a Conformer encoder, an attention decoder and a CTC head.

    Positions of the decoder are fixed sinusoids, so they are neither trained nor stored.
    """

    family = "conformer"
    # Where adapters go: regular expressions of whole module names, by kind of routing.
    sites = {
        "encoder_self": r"network\.model\.encoder\.layers\.\d+\.self_attn" + _PROJECTIONS,
        "decoder_self": r"network\.model\.decoder\.layers\.\d+\.self_attn" + _PROJECTIONS,
        "cross": r"network\.model\.decoder\.layers\.\d+\.encoder_attn" + _PROJECTIONS,
        "feed_forward": r"network\.model\.(?:encoder\.layers\.\d+\.feed_forward[12]\.linear[12]"
        r"|decoder\.layers\.\d+\.mlp\.fc[12])",
    }
    # Parameters that stay as they are when the model is quantised, and tensors that are computed, not stored.
    positions: tuple[str, ...] = ("network.model.decoder.pos_emb.weight",)
    computed: tuple[str, ...] = positions
    has_ctc = True
    routed_by_input = False  # only adapters are routed

    def __init__(self, settings: Mapping[str, Any], tokeniser: Tokeniser) -> None:
        super().__init__()
        self.settings = dict(settings)
        self.tokeniser = tokeniser
        self.network = CohereAsrForConditionalGeneration(network_config(settings, tokeniser))
        self.ctc_head = nn.Linear(settings["hidden_size"], tokeniser.size)
        self.fill_computed()

    def fill_computed(self) -> None:
        """Compute the positions of encoder and decoder, which are neither trained nor stored."""
        decoder = self.network.model.decoder.pos_emb
        decoder.weight = nn.Parameter(sinusoids(*decoder.weight.shape), requires_grad=False)
        encoder = self.network.model.encoder.encode_positions
        encoder.inv_freq = encoder.compute_default_relative_positional_parameters(encoder.config)

    @property
    def width(self) -> int:
        """Size of an encoder state."""
        return int(self.settings["hidden_size"])

    @property
    def max_tokens(self) -> int:
        """The longest decoder input that there are positions for, start included."""
        return len(self.network.model.decoder.pos_emb.weight)

    @property
    def whole_frames(self) -> int | None:
        """None: the context is the utterance."""
        return None

    def use_whole_context(self, whole: bool) -> None:
        """Nothing: the context is always the utterance."""

    def assign(
        self, adapters: Sequence[int], tokens: Tensor | None = None, speakers: Sequence[str] = ()
    ) -> None:
        """Nothing: there are no adapters."""

    def frame_mask(self, lengths: Tensor) -> Tensor:
        """Which encoder frames are real: `(batch, encoder time)` bool, from feature lengths `(batch,)`."""
        out = lengths
        for _ in range(_HALVINGS):
            out = -(-out // 2)
        return torch.arange(int(out.max()), device=lengths.device) < out[:, None]

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Run the encoder on `(batch, time, bins)` features of which `lengths` `(batch,)` frames are real."""
        real = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        # The first convolution would reach into the padding, whatever it holds.
        features = features.masked_fill(~real[..., None], 0.0)
        output = self.network.model.encoder(features, attention_mask=real.long())
        return Encoded(output.last_hidden_state, output.attention_mask.bool())

    def logits(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Teacher-forced next-token logits `(batch, tokens, vocabulary)` of inputs `(batch, tokens)`."""
        output = self.network(
            encoder_outputs=self._outputs(encoded), decoder_input_ids=tokens, use_cache=False
        )
        return output.logits

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """CTC logits `(batch, encoder time, vocabulary)`; the tokeniser's padding is the blank."""
        return self.ctc_head(encoded.states)

    def generation_inputs(self, encoded: Encoded) -> dict[str, Any]:
        """What the network gets in place of features when a search goes on token by token."""
        return {"encoder_outputs": self._outputs(encoded)}

    def describe(self) -> dict[str, Any]:
        """What `saml.models.build.rebuild` needs to build the same recogniser, weights apart."""
        return {"family": self.family, "settings": self.settings, "tokeniser": self.tokeniser.describe()}

    @staticmethod
    def _outputs(encoded: Encoded) -> ParakeetEncoderModelOutput:
        return ParakeetEncoderModelOutput(
            last_hidden_state=encoded.states, attention_mask=encoded.mask.to(torch.int32)
        )


def network_config(settings: Mapping[str, Any], tokeniser: Tokeniser) -> CohereAsrConfig:
    """The transformers configuration of a config's `model.conformer` section."""
    dropout = settings["dropout"]
    encoder = {
        "model_type": "parakeet_encoder",
        "hidden_size": settings["hidden_size"],
        "num_hidden_layers": settings["encoder_layers"],
        "num_attention_heads": settings["heads"],
        "intermediate_size": settings["encoder_feed_forward"],
        "conv_kernel_size": settings["kernel_size"],
        "subsampling_factor": 2**_HALVINGS,
        "subsampling_conv_channels": settings["subsampling_channels"],
        "num_mel_bins": 80,
        "dropout": dropout,
        "activation_dropout": dropout,
        "attention_dropout": dropout,
        "layerdrop": 0.0,
        "scale_input": False,
    }
    return CohereAsrConfig(
        encoder_config=encoder,
        vocab_size=tokeniser.size,
        hidden_size=settings["hidden_size"],
        num_hidden_layers=settings["decoder_layers"],
        num_attention_heads=settings["heads"],
        max_position_embeddings=CONFORMER_POSITIONS,
        intermediate_size=settings["decoder_feed_forward"],
        attention_dropout=dropout,
        pad_token_id=tokeniser.pad,
        bos_token_id=tokeniser.prompt[0],
        decoder_start_token_id=tokeniser.prompt[0],
        eos_token_id=tokeniser.end,
        tie_word_embeddings=True,
    )


def sinusoids(length: int, dim: int) -> Tensor:
    """Sinusoidal positions `(length, dim)` as in "Attention is all you need", sines then cosines."""
    rates = torch.exp(-torch.arange(dim // 2) * (torch.log(torch.tensor(10000.0)) / (dim // 2)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
