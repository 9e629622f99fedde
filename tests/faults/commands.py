"""The command line of an adaptation on the small corpus of the training tests."""

import json
from pathlib import Path

from tests.training import conftest as run
from tests.training.conftest import SAML_ARM

INPUTS = {
    "weights": "nf4.safetensors",
    "description": "nf4.json",
    "adapter": "saml.safetensors",
    "adapter-description": "saml.json",
    "cuts": "target/cuts.jsonl.gz",
    "splits": "splits.json",
}
OUTPUTS = {"out-adapter": "adapter.safetensors", "out-description": "adapter.json", "record": "run.jsonl"}


def adapt(made: Path, out: Path) -> list[str]:
    """Arguments of `saml` that adapt SAML to the target speaker, with outputs and checkpoints in `out`."""
    settings = run.settings("adapters", "adaptation", "partition", arm=SAML_ARM)
    command = ["adapt", "--experiment=test", "--arm=saml", "--speakers=t", "--seed=1"]
    command += [f"--settings={json.dumps(settings)}", f"--work={out / 'work'}", "--checkpoint-seconds=0"]
    command += [f"--{name}={made / file}" for name, file in INPUTS.items()]
    return command + [f"--{name}={out / file}" for name, file in OUTPUTS.items()]
