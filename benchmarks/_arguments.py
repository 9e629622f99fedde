"""Flags that all benchmarks have, and what they set before torch is imported."""

import argparse
import os
from pathlib import Path


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which medians are taken")
    parser.add_argument("--threads", type=int, default=1, help="threads of a process (1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (cpu)")
    parser.add_argument("--seed", type=int, default=1, help="of weights, lengths and speech (1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the measurements there too")
    return parser


def of_one_adaptation(parser: argparse.ArgumentParser, *, speakers: int, experts: int) -> None:
    """Add the flags of benchmarks that look into one adaptation of several speakers in the same batches."""
    parser.set_defaults(repeats=3, epochs=1, bfloat16=False)
    parser.add_argument("--size", default="mini", help="toy, mini (default), tiny.en or base.en")
    parser.add_argument("--like", default="librispeech", help="lengths of librispeech or ted (librispeech)")
    parser.add_argument("--speakers", type=int, default=speakers, help=f"in the same batches ({speakers})")
    parser.add_argument("--utterances", type=int, default=4, help="of each speaker (4)")
    parser.add_argument("--batch", type=int, default=4, help="utterances of a speaker in a step (4)")
    parser.add_argument("--experts", type=int, default=experts, help=f"of SAML ({experts})")
    parser.add_argument("--tail-seconds", type=float, default=1.0, help="of silence (1)")


def prepare(options: argparse.Namespace) -> None:
    """Set threads and device. Before torch is imported: it looks at these variables once."""
    thread_variables(options.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if options.device == "cpu":  # so that saml's own choice of a device is the one asked for
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def thread_variables(threads: int) -> None:
    """Let numerical libraries use so many threads. Before they are imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
