"""The commands around the experiments: check an installation, get a corpus."""

from pathlib import Path
from typing import Any

from saml.cli.dispatch import call


def add(commands: Any) -> None:
    """Add the commands of this group."""
    _add_doctor(commands)
    _add_download(commands)


def _add_doctor(commands: Any) -> None:
    command = commands.add_parser(
        "doctor",
        help="check an installation and a configuration before a long run",
        description="Check versions, GPU, corpora, disk and configuration, and count the jobs.",
    )
    command.add_argument(
        "--configfile",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="configurations to merge over config/config.yaml, as with snakemake",
    )
    command.set_defaults(run=_doctor)


def _doctor(options: dict[str, Any]) -> int:
    # Imported here for start-up, as all functions of commands are.
    from saml.config.load import load
    from saml.doctor.diagnosis import doctor

    files = [Path("config/config.yaml"), *options["configfile"]]
    return doctor(load(files), Path.cwd(), files)


def _add_download(commands: Any) -> None:
    command = commands.add_parser(
        "download",
        help="get a real corpus: librispeech or tedlium3",
        description="Download a corpus from openslr.org and unpack it. A download that broke off goes on "
        "where it stopped; archives stay beside what is in them, so twice their size must be free.",
    )
    corpora = command.add_subparsers(dest="corpus", required=True, metavar="corpus")
    librispeech = corpora.add_parser(
        "librispeech", help="parts of LibriSpeech (6, 23 and 31 GB for training)"
    )
    tedlium3 = corpora.add_parser("tedlium3", aliases=["tedlium"], help="TED-LIUM 3 (54 GB)")
    librispeech.add_argument(
        "--parts",
        nargs="+",
        default=["train-clean-100", "train-clean-360"],
        help="which (default: train-clean-100 train-clean-360)",
    )
    for corpus, function in ((librispeech, "download_librispeech"), (tedlium3, "download_tedlium3")):
        corpus.add_argument("--root", required=True, type=Path, help="folder to put it into")
        corpus.set_defaults(function=f"saml.corpora.download:{function}")
    command.set_defaults(run=_download)


def _download(options: dict[str, Any]) -> None:
    del options["corpus"]  # as it was spelled; the function says which
    call(options.pop("function"), options)
