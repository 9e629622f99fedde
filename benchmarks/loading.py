"""Loading a 4-bit Whisper: our stored NF4 model beside transformers' from_pretrained with 4-bit settings.

Ours is read packed and de-quantised once to float32. transformers either reads full-precision weights and
quantises them (the usual way), or reads a folder that it stored in 4 bits; it keeps the weights packed, which
takes less memory and makes every later step slower. Files lie in the system's cache for all of them.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._arguments import arguments, prepare
from benchmarks._report import Report
from benchmarks._timing import interleave


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--size", default="tiny.en", help="toy, mini, tiny.en (default) or base.en")
    options = parser.parse_args(given)
    prepare(options)
    import torch

    from benchmarks._models import load_4bit, write_nf4, write_theirs
    from saml.models.recogniser import as_module
    from saml.models.store import load_model

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        nf4 = write_nf4(options.size, folder, seed=options.seed)
        theirs = write_theirs(options.size, folder / "theirs", seed=options.seed)
        packed = folder / "packed"
        load_4bit(theirs, options.device).save_pretrained(packed)

        def ours() -> None:
            as_module(load_model(*nf4)[0]).to(options.device)

        contenders = {
            "from_pretrained, quantising": lambda: load_4bit(theirs, options.device) and None,
            "from_pretrained, stored in 4 bits": lambda: _load(packed, options.device),
            "ours": ours,
        }
        timings = interleave(contenders, repeats=options.repeats)
        files = dict(zip(contenders, (theirs, packed, nf4[0]), strict=True))
        sizes = {name: {"file MB": _megabytes(path)} for name, path in files.items()}
    report = Report("loading", "how soon is a 4-bit model there?", options)
    report.compare(options.size, timings, reference="from_pretrained, quantising", more=sizes)
    report.finish()


def _load(folder: Path, device: str) -> None:
    """Load what transformers stored in 4 bits."""
    from transformers import WhisperForConditionalGeneration

    WhisperForConditionalGeneration.from_pretrained(folder, device_map={"": device}, local_files_only=True)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
