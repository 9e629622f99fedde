"""The commands for recordings of one's own: adapt, shrink and export adapters, write down what is said."""

import argparse
from pathlib import Path
from typing import Any

from saml.cli.arguments import PATHS, add_names, add_paths, add_threads, positive
from saml.cli.dispatch import run
from saml.transcribe.writing import FORMATS


def add(commands: Any) -> None:
    """Add the commands of this group."""
    _add_personalise(commands)
    _add_prune(commands)
    _add_transcribe(commands)
    _add_export(commands)


def _add_personalise(commands: Any) -> None:
    command = commands.add_parser(
        "personalise",
        help="adapt a Whisper, or an experiment's models, to recordings of your own",
        description="Adapt a model to the speakers of a folder of recordings with their texts, and say "
        "whether it helps: word errors before and after, each recording transcribed by an adapter that has "
        "not heard it. Ends with 0 where the adapter helps, 10 where so few recordings show no difference, "
        "and 11 where it harms.",
    )
    command.add_argument(
        "base",
        metavar="BASE",
        help="a Whisper: openai/whisper-tiny.en or another name on the Hugging Face hub, a folder of "
        "transformers' or faster-whisper's, or a .pt of OpenAI's; or results/<experiment> of an experiment "
        "that has run",
    )
    command.add_argument(
        "--recordings",
        required=True,
        type=Path,
        metavar="PATH",
        help="folder of recordings with a text file beside each, a manifest.tsv, or a metadata.csv or "
        ".jsonl; or such a table in a folder that has several",
    )
    command.add_argument(
        "--out", type=Path, default=Path("results/own"), metavar="PATH", help="folder to write (results/own)"
    )
    command.add_argument("--speakers", nargs="+", help="speakers to adapt to (default: all)")
    command.add_argument(
        "--start",
        choices=("auto", "shipped", "none"),
        default="auto",
        help="of a Whisper: begin with the adapter that is shipped for it, pre-trained on other speakers, or "
        "with none (default: the shipped one if there is one)",
    )
    command.add_argument("--arms", nargs="+", help="adapted arms (default: those that the experiment ran)")
    command.add_argument(
        "--always", action="store_true", help="train the adapter to use even where it does not help"
    )
    command.add_argument(
        "--folds",
        type=positive,
        default=5,
        help="divisions of the recordings; each recording is tested in one of them (default 5)",
    )
    command.add_argument("--seed", type=positive, help="of the adapters (default: the experiment's first)")
    command.add_argument(
        "--on-bad",
        choices=("error", "drop"),
        default="error",
        help="at a recording that cannot be used: stop and name it, or leave it out (default error)",
    )
    add_threads(command)
    command.set_defaults(
        run=lambda options: run("saml.personalise.own_recordings:personalise", options, offline=False)
    )


def _add_prune(commands: Any) -> None:
    command = commands.add_parser(
        "prune",
        help="make an adapter smaller: fewer experts, or one LoRA",
        description="Leave out experts of a speaker's adapter, or make one LoRA of it, by where it routes "
        "the speech that it was trained on. Nothing is trained again.",
    )
    add_paths(command, ("weights", "adapter", "cuts", "splits", "out-adapter"))
    size = command.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--keep", dest="kept", type=positive, metavar="N", help="keep the N experts that are routed to most"
    )
    size.add_argument(
        "--collapse", dest="kept", action="store_const", const=None, help="make one LoRA, at the mean route"
    )
    for name, of in (("", "weights"), ("adapter-", "adapter"), ("out-", "out-adapter")):
        command.add_argument(
            f"--{name}description",
            type=Path,
            metavar="PATH",
            help=f"its description (default: as --{of}, but .json)",
        )
    add_paths(command, ("record",), required=False)
    command.add_argument("--experiment", default="", help="name of the experiment, for the run record")
    add_names(command)
    add_threads(command)
    command.set_defaults(run=lambda options: run("saml.stages.prune:prune", options))


def _add_transcribe(commands: Any) -> None:
    command = commands.add_parser(
        "transcribe",
        help="write down what is said in recordings",
        description="Write down what is said in recordings of any length and format. One that is longer than "
        "--longest is cut at pauses. Prints a line for each recording: its file, a tab, its text.",
    )
    command.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="recordings; - for standard input"
    )
    _add_model(command)
    output = command.add_argument_group("output")
    output.add_argument(
        "--format",
        dest="style",
        choices=FORMATS,
        default="text",
        help="text, subtitles, or JSON with times (default text)",
    )
    output.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write a file for each recording here, not to the terminal"
    )
    output.add_argument(
        "--longest",
        type=float,
        metavar="SECONDS",
        help="of a segment; shorter ones suit subtitles (default: 12 with an adapter, else 30 for Whisper)",
    )
    search = command.add_argument_group("decoding")
    search.add_argument("--language", help="that is spoken, for a multilingual Whisper (default: English)")
    search.add_argument(
        "--task",
        choices=("transcribe", "translate"),
        default="transcribe",
        help="for a multilingual Whisper: translate into English (default transcribe)",
    )
    search.add_argument("--beams", type=positive, default=4, help="hypotheses kept (default 4)")
    search.add_argument(
        "--memory",
        choices=("normal", "low"),
        default="normal",
        help="low: keep four-bit weights packed; needs less memory and more time (default normal)",
    )
    add_threads(command)
    command.set_defaults(
        run=lambda options: run("saml.transcribe.command:print_transcripts", options, offline=False)
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    """Add the options that say which model and adapters transcribe."""
    model = command.add_argument_group("model (default: the one that the adapter was trained on)")
    model.add_argument(
        "--base",
        metavar="BASE",
        help="a Whisper, as for `saml personalise`",
    )
    model.add_argument("--weights", type=Path, metavar="PATH", help=PATHS["weights"])
    model.add_argument(
        "--description", type=Path, metavar="PATH", help="its description (default: as --weights, but .json)"
    )
    model.add_argument("--adapter", type=Path, metavar="PATH", help="adapter to that model (safetensors)")
    model.add_argument(
        "--adapter-description",
        type=Path,
        metavar="PATH",
        help="its description (default: as --adapter, but .json)",
    )
    model.add_argument(
        "--adapters",
        type=Path,
        metavar="TABLE",
        help="in place of FILE and --adapter: a table with the columns file and adapter, separated by tabs; "
        "all are decoded in the same batches",
    )
    model.add_argument("--fold", type=int, default=0, help="of an adapter trained in folds (default 0)")


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export",
        help="write an adapter in the format of another program",
        description="Write an adapter for PEFT, or a Whisper with the adapter merged into its weights for "
        "transformers, CTranslate2 (faster-whisper) or whisper.cpp. A mixture of experts becomes one LoRA "
        "first.",
    )
    command.add_argument("adapter", type=Path, metavar="ADAPTER", help="adapter.safetensors of a speaker")
    command.add_argument(
        "--to", required=True, choices=("peft", "transformers", "ctranslate2", "ggml"), help="the format"
    )
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder to write")
    command.add_argument(
        "--quantise",
        choices=("int8", "q8_0", "q5_0", "q4_0"),
        help="round weights: int8 for ctranslate2; q8_0, q5_0 or q4_0 for ggml (default: 32 bits, ggml 16)",
    )
    command.add_argument(
        "--into",
        choices=("nf4", "fp32"),
        default="nf4",
        help="merge into the weights that the adapter was trained on, or into full precision (default nf4)",
    )
    command.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="the model that the adapter was trained on (default: that of its experiment)",
    )
    command.add_argument("--fold", type=int, help="of an adapter trained in folds")
    command.add_argument(
        "--base-model", metavar="NAME", help="for peft: the transformers model that the adapter belongs on"
    )
    add_threads(command)
    command.set_defaults(run=lambda options: run("saml.export.command:export", options))
