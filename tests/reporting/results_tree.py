"""A tree of results written by a test: hypotheses, adapters, model files, run records."""

import json
from pathlib import Path

from saml.corpora.registry import folder_name
from saml.evaluation.wer import count
from saml.reporting.tables import tabulate
from saml.tracking import RunRecord

ARMS = {
    "fp32": {"precision": "fp32", "adapted": False},
    "nf4": {"precision": "nf4", "adapted": False},
    "pqm": {"precision": "nf4", "adapted": True, "experts": 1, "pretrained": True, "routed": False},
    "saml": {"precision": "nf4", "adapted": True, "experts": 6, "pretrained": True, "routed": True},
}
SCORING = {"scoring": {"scorers": ["released", "whisper"], "draws": 200, "seed": 1, "error_stats": "saml"}}


class Tree:
    """Writes files under results/<experiment> as earlier stages do."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def weights(self, precision: str, size: int, *, tokeniser: int = 0) -> None:
        self._bytes(self.root / "models" / precision / "model.safetensors", size)
        self._bytes(self.root / "models" / precision / "tokenizer.json", tokeniser)

    def adapter(self, speaker: str, arm: str, seed: int, size: int, **description: object) -> None:
        folder = self.folder(speaker, arm, seed)
        self._bytes(folder / "adapter.safetensors", size)
        (folder / "adapter.json").write_text(json.dumps({"arm": arm, **description}))

    def hypotheses(self, speaker: str | None, arm: str, seed: int, lines: list[tuple]) -> None:
        """`lines`: (part, utterance, reference, hypothesis), then the fold and the guard if they matter."""
        path = self.folder(speaker, arm, seed) / "hypotheses.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for part, utterance, reference, hypothesis, *fold in lines:
                line = {
                    "utterance": utterance,
                    "speaker": speaker if part == "test" else "other",
                    "part": part,
                    "fold": fold[0] if fold else 0,
                    "guard": fold[1] if len(fold) > 1 else "",
                    "reference": reference,
                    "hypothesis": hypothesis,
                    "counts": count(reference, hypothesis, ["released", "whisper"]),
                }
                file.write(json.dumps(line) + "\n")

    def losses(self, where: str, train: list[float], dev: list[float], **names: object) -> None:
        record = RunRecord(stage="adapt", experiment="mini", **names)
        for step, (one, other) in enumerate(zip(train, dev, strict=True), start=1):
            record.curve("train/loss", step, one)
            record.curve("dev/loss", step, other)
        record.write(self.root / where / "run.jsonl")

    def folder(self, speaker: str | None, arm: str, seed: int) -> Path:
        of = self.root / "heldout" if speaker is None else self.root / "speakers" / folder_name(speaker)
        return of / arm / f"seed{seed}"

    def _bytes(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * size)


def run(tree: Tree, name: str = "tables", **changes: object) -> Path:
    """Write the tables of a tree in its folder `name`; `changes` replace arguments of the stage."""
    folder = tree.root / name
    arguments = {
        "results": tree.root,
        "experiment": "mini",
        "arms": ARMS,
        "speakers": ["b o", "anna"],
        "seeds": [1, 2],
        "settings": SCORING,
        **{name: folder / f"{name}.csv" for name in ("wer", "summary", "comparisons", "intervals")},
        "record": folder / "run.jsonl",
    }
    tabulate(**{**arguments, **changes})
    return folder
