"""A model as CTranslate2's folder, which faster-whisper runs: through CTranslate2's own converter."""

import tempfile
from pathlib import Path

from saml.export.extra import needed
from saml.export.huggingface import write_huggingface
from saml.models.whisper import WhisperRecogniser

# Beside the weights, what faster-whisper reads.
_COPIED = ["tokenizer.json", "preprocessor_config.json"]


def write_ctranslate2(recogniser: WhisperRecogniser, out: Path, quantise: str | None) -> None:
    """Write the folder; weights in 32 bits, or rounded to `quantise` ("int8").

    Raises SamlError where ctranslate2 is not installed.
    """
    converters = needed("ctranslate2.converters")
    with tempfile.TemporaryDirectory() as folder:
        write_huggingface(recogniser, Path(folder))
        converter = converters.TransformersConverter(folder, copy_files=_COPIED)
        converter.convert(str(out), quantization=quantise or "float32", force=True)
