"""A model as CTranslate2's folder, which faster-whisper runs: through CTranslate2's own converter."""

import shutil
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
        original, converted = Path(folder, "transformers"), Path(folder, "ctranslate2")
        original.mkdir()
        write_huggingface(recogniser, original)
        converter = converters.TransformersConverter(str(original), copy_files=_COPIED)
        # Not into `out` itself: the converter takes a new folder, or one that it may empty.
        converter.convert(str(converted), quantization=quantise or "float32")
        out.mkdir(parents=True, exist_ok=True)
        for path in converted.iterdir():
            shutil.move(path, out / path.name)
