"""Run records of a tiny experiment, and the runs that a store has of them."""

from saml.tracking import RunRecord

CONFIG = {
    "experiment": "tiny",
    "corpus": {"name": "synthetic"},
    "model": {"family": "conformer"},
    "seeds": [1],
}
ARMS = ("nf4", "saml")
SPEAKERS = ("x", "it's y")


def write(results, arm, speaker, wer=0.5, points=3):
    """Write the record of decoding a speaker with an arm, and the file that it names; the record's path."""
    folder = results / "tiny" / "speakers" / speaker / arm / "seed1"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"arm": {"experts": 6}, "adapters": {"rank": 1}}
    record = RunRecord(
        stage="decode",
        experiment="tiny",
        arm=arm,
        speaker=speaker,
        seed=1,
        settings=settings,
        corpus="synthetic",
    )
    for step in range(points):
        record.curve("train/loss", step, 1.0 / (step + 1))
    record.score("wer/whisper", wer)
    (folder / "hypotheses.jsonl").write_text('{"utterance": "a"}\n')
    record.file(folder / "hypotheses.jsonl")
    record.write(folder / "run.jsonl")
    return folder / "run.jsonl"


def artefacts(results, run):
    """The names of a run's files, in the folder in which `saml mlflow` lets MLflow look for them."""
    home = results / "mlflow" / "artifacts" / run.info.run_id / "artifacts"
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def all_runs(client, stage="decode"):
    """All runs of a stage, sorted by name."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    return client.search_runs(experiments, f"tags.stage = '{stage}'", order_by=["tags.`mlflow.runName`"])
