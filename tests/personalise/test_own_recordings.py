"""Personalisation on a finished experiment: every recording is tested once, the experiment is unchanged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile

from saml.adapters import AdaptedRecogniser
from saml.adapters.store import load_adapter, save_adapter
from saml.config.load import load, save
from saml.corpora.split_files import read_splits
from saml.models.recogniser import Recogniser
from saml.models.store import load_model, save_model
from saml.personalise import steps
from saml.personalise.own_recordings import adapt_to_recordings, personalise
from saml.personalise.verdict import Verdict
from saml.runtime.errors import SamlError
from saml.stages.prune import prune
from saml.stages.quantise import quantise
from saml.training.adapter_training import adapter_spec
from saml.transcribe.command import transcribe_files
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
TEXTS = ["bin blue", "lay red at a", "set green", "place white now", "bin a", "lay b"]


@pytest.fixture
def family() -> str:
    return "conformer"


@pytest.fixture
def experiment(make_recogniser: Callable[[], Recogniser], tmp_path: Path) -> Path:
    """An experiment with models and a pre-trained saml arm, and nothing else."""
    results = tmp_path / "results" / "small"
    config = load([ROOT / "config" / "config.yaml", ROOT / "tests" / "configurations" / "tiny.yaml"])
    config["model"]["conformer"] = TINY
    config["run_arms"] = ["nf4", "nf4-lora", "saml"]
    config["decoding"]["max_tokens_per_second"] = 0.5
    save(config, results / "config.yaml")
    base, nf4 = results / "models" / "base", results / "models" / "nf4"
    save_model(make_recogniser(), base / "model.safetensors", base / "model.json")
    quantise(
        experiment="small",
        settings={"quantisation": config["quantisation"]},
        weights=base / "model.safetensors",
        description=base / "model.json",
        out_weights=nf4 / "model.safetensors",
        out_description=nf4 / "model.json",
        record=nf4 / "run.jsonl",
    )
    recogniser, content = load_model(nf4 / "model.safetensors", nf4 / "model.json")
    spec = adapter_spec({"arm": config["arms"]["saml"], "adapters": config["adapters"]})
    state = AdaptedRecogniser(recogniser, spec, seed=1).state()
    folder = results / "pretrained" / "saml" / "seed1"
    save_adapter(
        folder / "adapter.safetensors",
        folder / "adapter.json",
        spec=spec,
        folds=[state],
        base=content,
        origin={},
    )
    return results


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Six sentences of anna and six of ben (noise, at 22.05 kHz), without roles."""
    folder = tmp_path / "my voice"
    lines = ["utterance\tspeaker\tfile\ttext"]
    chance = np.random.default_rng(1)
    for speaker in ("anna", "ben b"):
        for index, text in enumerate(TEXTS):
            name = f"{speaker}-{index}"
            folder.mkdir(exist_ok=True)
            samples = chance.standard_normal(int(chance.integers(14_000, 20_000))) * 0.1
            soundfile.write(folder / f"{name}.wav", samples, 22_050, subtype="PCM_16")
            lines.append(f"{name}\t{speaker}\t{name}.wav\t{text}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return folder


def run(experiment: Path, recordings: Path, **options: object) -> Path:
    out = experiment.parent / "own"
    given = {"folds": 3, "always": True, **options}
    adapt_to_recordings(results=experiment, recordings=recordings, out=out, **given)  # type: ignore[arg-type]
    return out


def test_each_recording_is_tested_once_and_the_experiment_is_unchanged(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in experiment.rglob("*.*")}
    out = run(experiment, recordings, speakers=["ben b"])
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in experiment.rglob("*.*")} == before
    printed = capsys.readouterr().out
    assert "ben b: 6 recordings, 15 words" in printed and "anna" not in printed
    written = load([out / "config.yaml"])
    assert written["target_speakers"] == ["ben b"] and written["run_arms"] == ["nf4", "nf4-lora", "saml"]
    for arm, seed in (("nf4", 0), ("nf4-lora", 1), ("saml", 1)):
        folder = out / "speakers" / "ben%20b" / arm / f"seed{seed}"
        lines = [json.loads(line) for line in (folder / "hypotheses.jsonl").read_text().splitlines()]
        assert sorted(line["utterance"] for line in lines) == [f"ben b-{index}" for index in range(6)]
        rate = jiwer.wer([line["reference"] for line in lines], [line["hypothesis"] for line in lines])
        row = next(line.split() for line in printed.splitlines() if line.startswith(f"{arm} "))
        assert row[1] == f"{100 * rate:.1f}"
        adapter = folder / "adapter.json"
        assert adapter.exists() == (seed == 1)
        assert seed == 0 or json.loads(adapter.read_text())["folds"] == 3
        to_use = out / "adapters" / "ben%20b" / arm / "seed1" / "adapter.json"
        assert to_use.exists() == (seed == 1)
        assert seed == 0 or len(json.loads(to_use.read_text())["trained_on"]) == 1


def test_copies_are_named_and_tested_together(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = recordings / "manifest.tsv"
    table.write_text(table.read_text() + f"again\tben b\tben b-2.wav\t{TEXTS[2]}\n")
    out = run(experiment, recordings, speakers=["ben b"], arms=["nf4-lora"])
    printed = capsys.readouterr().out
    assert "ben b: 1 of the recordings are copies of others (again and ben b-2 ...); no recording" in printed
    folds = json.loads((out / "data/speakers/ben%20b/splits.json").read_text())["folds"]
    assert [("again" in fold["test"]) == ("ben b-2" in fold["test"]) for fold in folds] == [True] * 3


def test_the_adapter_to_use_is_trained_on_all_recordings(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has one state, and can be used and pruned; its splits have no test part."""
    out = run(experiment, recordings, speakers=["ben b"], arms=["saml"])
    assert f"{out}/adapters/ben%20b/saml/seed1/adapter.safetensors" in capsys.readouterr().out
    data, folder = out / "data" / "speakers" / "ben%20b", out / "adapters" / "ben%20b" / "saml" / "seed1"
    (fold,) = json.loads((data / "use.json").read_text())["folds"]
    assert sorted(fold["train"] + fold["dev"]) == [f"ben b-{index}" for index in range(6)]
    assert (len(fold["train"]), len(fold["dev"]), fold["test"]) == (4, 2, [])
    known = set(fold["train"] + fold["dev"])
    digest = read_splits(data / "use.json", known, untested=True)[0].digest
    weights = experiment / "models" / "nf4" / "model.safetensors"
    _, content = load_model(weights, weights.with_suffix(".json"))
    stored = load_adapter(folder / "adapter.safetensors", folder / "adapter.json", content)
    assert len(stored.folds) == 1 and stored.description["trained_on"] == [digest]
    with pytest.raises(SamlError, match="nothing in its test part"):
        read_splits(data / "use.json", known)
    prune(
        weights=weights,
        adapter=folder / "adapter.safetensors",
        cuts=data / "cuts.jsonl.gz",
        splits=data / "use.json",
        out_adapter=folder / "one.safetensors",
        kept=None,
    )
    for adapter in ("adapter", "one"):
        path = folder / f"{adapter}.safetensors"
        assert list(transcribe_files(files=[recordings / "anna-0.wav"], weights=weights, adapter=path))


def test_the_adapter_transcribes_what_it_was_tested_on(experiment: Path, recordings: Path) -> None:
    """`transcribe` gives the text of the stage `decode`, for each fold with its own adapter."""
    out = run(experiment, recordings, speakers=["anna"], arms=["saml"])
    folder = out / "speakers" / "anna" / "saml" / "seed1"
    for line in (folder / "hypotheses.jsonl").read_text().splitlines()[::2]:
        stored = json.loads(line)
        [one] = transcribe_files(
            files=[recordings / f"{stored['utterance']}.wav"],
            weights=experiment / "models" / "nf4" / "model.safetensors",
            adapter=folder / "adapter.safetensors",
            fold=stored["fold"],
            beams=2,
        )
        # The stage was limited to ten tokens.
        assert stored["hypothesis"] and one.text.startswith(stored["hypothesis"][:9])


def test_missing_files_are_named_before_anything_is_written(experiment: Path, recordings: Path) -> None:
    with pytest.raises(SamlError, match="--arms: fp32 is not an adapted arm"):
        run(experiment, recordings, arms=["fp32"])
    with pytest.raises(SamlError, match=r"pqm.*snakemake --cores all .*pretrained/pqm/seed1/adapter"):
        run(experiment, recordings, arms=["pqm"])
    with pytest.raises(SamlError, match=r"pretrained/saml/seed2/adapter"):
        run(experiment, recordings, arms=["saml"], seed=2)
    with pytest.raises(SamlError, match="--speakers: .*my voice has no speaker carl; it has anna, ben b"):
        run(experiment, recordings, speakers=["carl"])
    with pytest.raises(SamlError, match="--folds: 2 are too few for train, dev and test; choose 3 or more"):
        adapt_to_recordings(results=experiment, recordings=recordings, out=experiment.parent / "own", folds=2)
    with pytest.raises(SamlError, match="an experiment with models of its own"):
        adapt_to_recordings(results=experiment, recordings=recordings, out=experiment)
    with pytest.raises(SamlError, match="my voice: no config.yaml"):
        run(recordings, recordings)
    for out in (recordings, recordings / "results" / "own"):
        with pytest.raises(SamlError, match="--out: .* lies within the recordings"):
            adapt_to_recordings(results=experiment, recordings=recordings, out=out)
    with pytest.raises(SamlError, match="--start none is for a Whisper; of an experiment choose an arm"):
        personalise(base=str(experiment), recordings=recordings, out=experiment.parent / "own", start="none")
    shutil.rmtree(recordings)
    with pytest.raises(SamlError, match="there is no folder .*my voice; give --recordings a folder"):
        run(experiment, recordings)
    assert not (experiment.parent / "own").exists()


def test_what_is_done_is_kept_where_a_later_speaker_fails(
    experiment: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict of the first is written, by Whisper's scorer, though the experiment scores by another."""
    config = load([experiment / "config.yaml"])
    config["scoring"]["scorers"] = ["released"]
    save(config, experiment / "config.yaml")
    whole = steps.adapt

    def fails(**options: Any) -> None:
        if options["speakers"][0].speaker == "ben b":
            raise SamlError("ben's training diverged")
        whole(**options)

    monkeypatch.setattr(steps, "adapt", fails)
    with pytest.raises(SamlError, match="ben's training diverged"):
        run(experiment, recordings, arms=["nf4-lora"])
    (verdict,) = json.loads((experiment.parent / "own" / "verdict.json").read_text())
    assert verdict["speaker"] == "anna" and verdict["words"] == 15
    assert (experiment.parent / "own" / "report.html").is_file()


def test_an_adapter_of_earlier_recordings_does_not_outlive_an_adverse_verdict(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verdict, "improves", property(lambda self: False))
    given: dict[str, Any] = {"speakers": ["anna"], "arms": ["nf4-lora"]}
    out = run(experiment, recordings, **given)
    to_use = out / "adapters/anna/nf4-lora/seed1/adapter.safetensors"
    assert to_use.is_file()
    run(experiment, recordings, always=False, **given)
    assert to_use.is_file()  # of these very recordings
    manifest = recordings / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("anna-2.wav\tset green", "anna-2.wav\tset blue"))
    run(experiment, recordings, always=False, **given)
    assert "no adapter to use is trained, as it would not help" in capsys.readouterr().out
    assert not to_use.exists() and not to_use.with_suffix(".json").exists()


def test_a_bad_recording_is_named_as_the_user_knows_it_or_left_out(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of converted audio, the user's file, and this command's option."""
    manifest = recordings / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("anna-2.wav\tset green", "anna-2.wav\tset 2 green"))
    with pytest.raises(SamlError) as error:
        run(experiment, recordings, speakers=["anna"], arms=["nf4-lora"])
    assert str(error.value) == (
        f"utterance anna-2 of speaker anna ({recordings}/anna-2.wav): the tokeniser lacks '2' of the "
        "transcript 'set 2 green'; correct it, or leave such recordings out with --on-bad drop"
    )
    (recordings / "anna-3.wav").write_bytes(b"")
    with pytest.raises(SamlError, match=r"anna-3.wav\): the file is empty; .* with --on-bad drop$"):
        run(experiment, recordings, speakers=["anna"], arms=["nf4-lora"])
    out = run(experiment, recordings, speakers=["anna"], arms=["nf4-lora"], on_bad="drop")
    printed = capsys.readouterr().out
    assert f"anna: 1 left out (anna-3), reasons in {out}/data/corpus/dropped.tsv" in printed
    assert f"anna: 1 left out (anna-2), reasons in {out}/data/speakers/anna/dropped.tsv" in printed
    assert "anna: 4 recordings" in printed
    for path in recordings.glob("anna*"):
        path.write_bytes(b"")
    with pytest.raises(
        SamlError, match="speaker anna: none of the recordings can be used, see .* --speakers"
    ):
        run(experiment, recordings, speakers=["anna"], arms=["nf4-lora"], on_bad="drop")


def test_texts_beside_recordings_and_sentences_said_twice(
    experiment: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a table; a text with a capital and a no-break space is the sentence without."""
    (recordings / "manifest.tsv").unlink()
    for path in recordings.glob("anna*"):
        path.unlink()
    for path, text in zip(
        sorted(recordings.glob("*.wav")), ["Bin\u00a0blue.", "bin blue", "BIN  blue", *TEXTS[3:]], strict=True
    ):
        path.with_suffix(".txt").write_text(text.replace(".", "") + "\n")
    out = run(experiment, recordings, arms=["nf4-lora"])
    printed = capsys.readouterr().out
    assert "my voice: 6 recordings, 13 words" in printed
    folds = json.loads((out / "data/speakers/my%20voice/splits.json").read_text())["folds"]
    same = {"ben b-0", "ben b-1", "ben b-2"}
    count = sum(len(same & set(fold["test"])) for fold in folds if same & set(fold["train"]))
    assert count >= 1
    assert (
        f"my voice: {count} of 6 test utterances say a sentence that is trained on too, such as " in printed
    )
    (recordings / "ben b-0.txt").unlink()
    with pytest.raises(SamlError, match="my voice: ben b-0.wav without a .txt file .* with --on-bad drop$"):
        run(experiment, recordings, arms=["nf4-lora"])
    (recordings / "manifest.tsv").write_text("utterance\tspeaker\tfile\ttext\n")
    with pytest.raises(SamlError, match="remove one, or choose, as with --recordings <folder>/manifest.tsv"):
        run(experiment, recordings, arms=["nf4-lora"])
    with pytest.raises(SamlError, match="manifest.tsv: there are no utterances"):
        run(experiment, recordings / "manifest.tsv", arms=["nf4-lora"])
