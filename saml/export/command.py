"""The command `saml export`."""

import sys
from pathlib import Path

from saml.adapters.base_model import model_of
from saml.export.ctranslate2 import write_ctranslate2
from saml.export.ggml import QUANTISATIONS, write_ggml
from saml.export.huggingface import write_huggingface
from saml.export.merged import merge
from saml.export.peft import write_peft
from saml.export.source import full_precision_of, open_source
from saml.models.store import load_model
from saml.models.whisper import WhisperRecogniser
from saml.runtime.errors import SamlError

GGML_FILE = "ggml-model.bin"
# How the weights of each format may be rounded.
QUANTISE = {"peft": (), "transformers": (), "ctranslate2": ("int8",), "ggml": QUANTISATIONS}


def export(
    *,
    adapter: Path,
    to: str,
    out: Path,
    weights: Path | None = None,
    into: str = "nf4",
    quantise: str | None = None,
    fold: int | None = None,
    base_model: str | None = None,
) -> None:
    """Write an adapter, or its model with the adapter merged, in another program's format.

    Args:
        adapter: adapter.safetensors, with adapter.json beside it.
        to: "peft", "transformers", "ctranslate2" or "ggml".
        out: the folder to write.
        weights: the model that it was trained on; None: found in the experiment around the adapter.
        into: the weights to merge into: "nf4", those that the adapter was trained on, de-quantised, or
            "fp32", the full-precision model beside them.
        quantise: how the format rounds weights (`QUANTISE`); None: not at all, but 16 bits for ggml.
        fold: which state of an adapter that was trained by cross-validation.
        base_model: peft only, the transformers model that the adapter belongs on, for programs that look it
            up; None: it is not named.

    Raises:
        SamlError: an input is missing or damaged or cannot be exported, the format does not round so, or a
            library is not installed.
    """
    if quantise is not None and quantise not in QUANTISE[to]:
        known = ", ".join(QUANTISE[to]) or "nothing: leave it out"
        raise SamlError(f"--quantise {quantise}: --to {to} takes {known}")
    weights = model_of(adapter) if weights is None else weights
    source = open_source(adapter, weights, fold)
    out.mkdir(parents=True, exist_ok=True)
    if to == "peft":
        write_peft(source, out, base_model or "")
        print(f"{out}: adapter of rank {source.spec.rank} for PEFT", file=sys.stderr)
        return
    model = source.base
    if into == "fp32":
        whole = full_precision_of(weights)
        recogniser, _ = load_model(whole, whole.with_suffix(".json"))
        assert isinstance(recogniser, WhisperRecogniser)
        model = recogniser
    merge(model, source.spec, source.state)
    if to == "transformers":
        write_huggingface(model, out)
    elif to == "ctranslate2":
        write_ctranslate2(model, out, quantise)
    else:
        write_ggml(model, out / GGML_FILE, quantise)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB for {to}", file=sys.stderr)
