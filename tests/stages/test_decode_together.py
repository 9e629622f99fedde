"""Speech decoded in the same batches: the hypotheses of one speaker, and one fold, after another."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from saml.adapters import AdaptedRecogniser, AdapterSpec
from saml.adapters.store import load_adapter, save_adapter
from saml.corpora.manifests import read_cuts
from saml.decoding.transcription import Search, transcribe
from saml.models.store import load_model, read_description
from saml.runtime.errors import SamlError
from saml.stages.decode import Decoding, decode
from saml.tracking import RunRecord, read_record
from saml.training.adapter_training import adapter_spec
from tests.stages.conftest import ARMS, ENROLMENT, Project, only_conformer, write_folds
from tests.training import conftest as run
from tests.training.conftest import decode_one

GENERAL = ["g", "h"]


def spec_of(arm: str) -> AdapterSpec:
    settings = run.settings("adapters", arm=ARMS[arm])
    return adapter_spec(settings)


def write_adapter(project: Project, speaker: str, arm: str, folds: int = 1, spec: Any = None) -> None:
    """An adapter like nobody else's, large enough to show, and the record of how it came about."""
    adapted = AdaptedRecogniser(project.make(), spec or spec_of(arm), seed=2)
    generator = torch.Generator().manual_seed(sum(map(ord, speaker)))
    states = [
        {
            name: 0.5 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in adapted.state().items()
        }
        for _ in range(folds)
    ]
    folder = project.folder / speaker
    save_adapter(
        folder / "adapter.safetensors",
        folder / "adapter.json",
        spec=adapted.spec,
        folds=states,
        base=read_description(project.folder / "model.json"),
        origin={"arm": arm, "speaker": speaker},
    )
    adaptation = RunRecord(stage="adapt", experiment="test", arm=arm, speaker=speaker, seed=1)
    adaptation.score("marks", ord(speaker))
    adaptation.write(folder / "adaptation.jsonl")


def options(project: Project, arm: str, beams: int = 3) -> dict[str, Any]:
    """What all speakers share."""
    settings = run.settings("decoding", "scoring", arm=ARMS[arm])
    ours = {"beams": beams, "batch_seconds": 6.0, "max_tokens_per_second": 12.0}
    settings["decoding"] = {**settings["decoding"], **ours}  # not those of all other tests
    return {
        "experiment": "test",
        "settings": settings,
        "arm": arm,
        "seed": 1,
        "weights": project.folder / "model.safetensors",
        "description": project.folder / "model.json",
        "heldout_cuts": project.folder / "heldout/cuts.jsonl.gz",
    }


def files(project: Project, speaker: str, way: str, adapted: bool = True) -> dict[str, Any]:
    """A speaker's own."""
    folder = project.folder / speaker
    adapter = {
        "adapter": folder / "adapter.safetensors",
        "adapter_description": folder / "adapter.json",
        "adaptation_record": folder / "adaptation.jsonl",
    }
    return {
        "speaker": speaker,
        "cuts": folder / "cuts.jsonl.gz",
        "splits": folder / "splits.json",
        "hypotheses": folder / f"{way}.jsonl",
        "record": folder / f"{way}.run.jsonl",
        **(adapter if adapted else {}),
    }


def lines(project: Project, speaker: str, way: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.folder / speaker / f"{way}.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def heldout(project: Project, family: str) -> Path:
    """Held-out speakers' speech."""
    padded = 140 if family == "whisper" else None
    run.write_pool(project.folder / "heldout", GENERAL, ["heldout"] * 2, padded=padded)
    return project.folder / "heldout"


@pytest.mark.parametrize("arm", ARMS)
def test_speakers_at_once_are_heard_as_alone(arm: str, project: Project) -> None:
    for speaker in ENROLMENT:
        write_adapter(project, speaker, arm)
        decode_one(**options(project, arm), **files(project, speaker, "alone"))
    decode(
        decodings=[Decoding(**files(project, speaker, "at_once")) for speaker in ENROLMENT],
        **options(project, arm),
    )
    for speaker in ENROLMENT:
        alone, at_once = (lines(project, speaker, way) for way in ("alone", "at_once"))
        assert at_once == alone and len(alone) == 2 + 2 * len(GENERAL)
        theirs, ours = (
            read_record(project.folder / f"{speaker}/{way}.run.jsonl") for way in ("alone", "at_once")
        )
        assert ours.scores == theirs.scores and ours.speaker == theirs.speaker == speaker
        assert ours.scores["marks"] == ord(speaker) and ours.durations.keys() == {"adapt", "decode"}
        assert [path.name for path in ours.files] == ["at_once.jsonl"]
    heldout = [
        tuple(line["hypothesis"] for line in lines(project, speaker, "alone")[:4]) for speaker in ENROLMENT
    ]
    assert len(set(heldout)) == 3  # everybody's own adapter was in use


@pytest.mark.parametrize("arm", ["saml", "input"])
def test_folds_at_once_are_heard_as_one_after_another(arm: str, project: Project) -> None:
    """A loop over folds with one adapter each, by another recogniser than a crowd's."""
    ids = [f"t-{index}" for index in range(9)]
    tests = [ids[7:], ids[2:4], ids[:2]]
    dev = [ids[5:7], ids[:2], ids[4:6]]
    folds = [
        {"train": [name for name in ids if name not in test + other], "dev": other, "test": test}
        for test, other in zip(tests, dev, strict=True)
    ]
    write_folds(project.folder / "t", folds)
    write_adapter(project, "t", arm, folds=3)
    decode_one(**options(project, arm), **files(project, "t", "at_once"))
    content = read_description(project.folder / "model.json")
    own = files(project, "t", "")
    adapter = load_adapter(own["adapter"], own["adapter_description"], content)
    base, _ = load_model(project.folder / "model.safetensors", project.folder / "model.json")
    adapted = AdaptedRecogniser(base, adapter.spec, seed=0)
    cuts = {cut.id: cut for cut in read_cuts(own["cuts"])}
    search = Search(**options(project, arm)["settings"]["decoding"])
    expected: dict[tuple[str, int, str], str] = {}
    for fold, test in enumerate(tests):
        adapted.load_state(adapter.folds[fold])
        found = transcribe(adapted, [cuts[name] for name in test], search)
        expected |= {("test", fold, name): text for name, text in found.items()}
    adapted.load_state(adapter.folds[0])
    for name, text in transcribe(
        adapted, read_cuts(project.folder / "heldout/cuts.jsonl.gz"), search
    ).items():
        expected["heldout", 0, name] = text
    found = {
        (line["part"], line["fold"], line["utterance"]): line["hypothesis"]
        for line in lines(project, "t", "at_once")
    }
    assert found == expected
    assert len(set(found.values())) > 4


def test_a_bare_model_hears_many_speakers_at_once(project: Project) -> None:
    common = {**options(project, "nf4-lora"), "heldout_cuts": None}
    for speaker in ENROLMENT:
        decode_one(**common, **files(project, speaker, "alone", adapted=False))
    at_once = [Decoding(**files(project, speaker, "at_once", adapted=False)) for speaker in ENROLMENT]
    decode(decodings=at_once, **common)
    for speaker in ENROLMENT:
        assert lines(project, speaker, "at_once") == lines(project, speaker, "alone")


@only_conformer()
def test_utterances_of_several_speakers_are_in_a_batch(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[set[int]] = []
    assign = AdaptedRecogniser.assign

    def watched(self: AdaptedRecogniser, adapters: Any, tokens: Any = None) -> None:
        batches.append(set(adapters))
        assign(self, adapters, tokens)

    monkeypatch.setattr(AdaptedRecogniser, "assign", watched)
    for speaker in ENROLMENT:
        write_adapter(project, speaker, "saml")
    decodings = [Decoding(**files(project, speaker, "at_once")) for speaker in ENROLMENT]
    decode(decodings=decodings, **options(project, "saml"))
    assert max(map(len, batches)) > 1 and set.union(*batches) == {0, 1, 2}


@only_conformer()
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("kind", r"speaker 'u': .*/u/adapter\.safetensors: is of another kind than .*/t/adapter"),
        ("splits", r"speaker 'u': .*/u/splits\.json"),
        ("shape", r"speaker 'u': .*/u/adapter\.safetensors: .*down.* shape"),
        ("none", r"speaker 'u': has no adapter, and others have"),
    ],
)
def test_who_fails_is_named_and_the_others_are_written(bad: str, says: str, project: Project) -> None:
    """The others' texts are those of a crowd without failures."""
    for speaker in ENROLMENT:
        write_adapter(project, speaker, "saml")
    every = {speaker: Decoding(**files(project, speaker, "whole")) for speaker in ENROLMENT}
    decode(decodings=list(every.values()), **options(project, "saml"))
    if bad == "kind":
        write_adapter(project, "u", "saml", spec=AdapterSpec(**{**spec_of("saml").as_dict(), "alpha": 400}))
    elif bad == "shape":
        described = json.loads((project.folder / "u/adapter.json").read_text())
        tensors = load_file(project.folder / "u/adapter.safetensors")
        name = next(name for name in tensors if name.endswith("down"))
        data = save({**tensors, name: tensors[name][..., :-1].clone()})
        (project.folder / "u/adapter.safetensors").write_bytes(data)
        described["sha256"] = hashlib.sha256(data).hexdigest()
        (project.folder / "u/adapter.json").write_text(json.dumps(described))
    elif bad == "splits":
        (project.folder / "u/splits.json").write_text("{")
    some = {
        speaker: Decoding(**files(project, speaker, "some", adapted=(speaker, bad) != ("u", "none")))
        for speaker in ENROLMENT
    }
    with pytest.raises(SamlError, match=says + ".*; the other 2 are written$"):
        decode(decodings=list(some.values()), **options(project, "saml"))
    assert not (project.folder / "u/some.jsonl").exists()
    for speaker in ("t", "v"):
        assert lines(project, speaker, "some") == lines(project, speaker, "whole")


@only_conformer()
@pytest.mark.parametrize("changes", [{"beams": 1}, {"ctc_weight": 0.4}], ids=["greedy", "joint with CTC"])
def test_other_searches(changes: dict[str, Any], project: Project) -> None:
    common = options(project, "saml")
    common["settings"]["decoding"] |= changes
    for speaker in ENROLMENT:
        write_adapter(project, speaker, "saml")
        decode_one(**common, **files(project, speaker, "alone"))
    at_once = [Decoding(**files(project, speaker, "at_once")) for speaker in ENROLMENT]
    decode(decodings=at_once, **common)
    for speaker in ENROLMENT:
        assert lines(project, speaker, "at_once") == lines(project, speaker, "alone")


@only_conformer()
def test_the_heldout_pool_alone_is_the_first_folds(project: Project) -> None:
    write_adapter(project, "t", "saml", folds=3)
    own = files(project, "t", "first")
    chosen = {name: own[name] for name in ("adapter", "adapter_description", "hypotheses", "record")}
    decode_one(**options(project, "saml"), **chosen)
    found = {line["utterance"]: line["hypothesis"] for line in lines(project, "t", "first")}
    stored = load_adapter(
        own["adapter"], own["adapter_description"], read_description(project.folder / "model.json")
    )
    adapted = AdaptedRecogniser(project.make(), stored.spec, seed=0)
    adapted.load_state(stored.folds[0])
    search = Search(**options(project, "saml")["settings"]["decoding"])
    assert found == transcribe(adapted, read_cuts(project.folder / "heldout/cuts.jsonl.gz"), search)


@only_conformer()
def test_no_speaker_and_one_given_twice_are_refused(project: Project) -> None:
    write_adapter(project, "t", "saml")
    one = Decoding(**files(project, "t", "at_once"))
    with pytest.raises(SamlError, match="there is no speaker to decode"):
        decode(decodings=[], **options(project, "saml"))
    with pytest.raises(SamlError, match=r"t/at_once\.jsonl: would be written twice"):
        decode(decodings=[one, one], **options(project, "saml"))
