"""From a corpus to cuts with features and splits, as the commands do it."""

import copy
import gzip
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.qa import validate

from saml.features.batching import collate
from saml.features.store import load_features
from tests.stages.preparing import SETTINGS, changed, digests, edit_manifest, run

AN4 = Path(os.environ.get("SAML_TEST_AN4", Path(__file__).parents[3] / "shared/data/an4"))


def test_from_a_folder_to_cuts(workplace):
    place = run("corpus", "out")
    validate(RecordingSet.from_file(place / "recordings.jsonl.gz"), read_data=True)
    assert len(SupervisionSet.from_file(place / "supervisions.jsonl.gz")) == 24
    assert (place / "dropped.tsv").read_text() == "utterance\tspeaker\tfile\treason\n"
    assert (place / "audio").is_dir() and (place / "run.jsonl").is_file()

    place = run("pool", "out", role="base")
    cuts = list(CutSet.from_file(place / "cuts.jsonl.gz"))
    validate(CutSet.from_items(cuts), read_data=True)
    assert [cut.id for cut in cuts] == [f"anna-{index}" for index in range(6)]
    assert sorted(cut.custom["part"] for cut in cuts) == ["dev", "dev", "train", "train", "train", "train"]
    assert cuts[0].supervisions[0].text == "One Two a" and cuts[0].supervisions[0].custom["role"] == "base"
    assert cuts[0].recording.sources[0].source == "mine/anna/0.wav"
    assert cuts[0].features.storage_path == "out/pools/base/features.bin"
    batch, lengths = collate(cuts, load_features(cuts))
    assert batch.shape == (6, 75, 80) and lengths.tolist() == [50, 55, 60, 65, 70, 75]

    assert {
        c.custom["part"] for c in CutSet.from_file(run("pool", "out", role="heldout") / "cuts.jsonl.gz")
    } == {"test"}


def test_a_speaker_is_split(workplace):
    run("corpus", "out")
    place = run("speaker", "out", speaker="dora")
    assert json.loads((place / "splits.json").read_text()) == {
        "speaker": "dora",
        "scheme": "contiguous",
        "seed": 1,
        "folds": [{"train": ["dora-0", "dora-1"], "dev": ["dora-2", "dora-3"], "test": ["dora-4", "dora-5"]}],
    }
    cuts = list(CutSet.from_file(place / "cuts.jsonl.gz"))
    assert [cut.id for cut in cuts] == [f"dora-{index}" for index in range(6)]
    assert {cut.supervisions[0].custom["role"] for cut in cuts} == {"target"}


def test_the_record_tells_what_was_made(workplace):
    place = run("corpus", "out")
    run("pool", "out", role="base")
    lines = [json.loads(line) for line in (Path("out/pools/base/run.jsonl")).read_text().splitlines()]
    scores = {line["name"]: line["value"] for line in lines if line["kind"] == "score"}
    assert scores["utterances"] == 6 and scores["speakers"] == 1 and scores["dropped"] == 0
    assert scores["hours"] == pytest.approx(3.75 / 3600)
    (size,) = [line for line in lines if line["kind"] == "size"]
    assert list(size.values())[1:] == ["features", 375 * 80 * 4]
    assert '"stage": "prepare-corpus"' in (place / "run.jsonl").read_text()


def test_the_record_knows_the_manifest(workplace):
    """The checksum is coreutils'."""
    head = json.loads((run("corpus", "out") / "run.jsonl").read_text().splitlines()[0])
    told = subprocess.run(["sha256sum", "mine/manifest.tsv"], capture_output=True, text=True, check=True)
    assert head["settings"]["manifest"] == {"sha256": told.stdout.split()[0]}


def test_same_bytes_again(workplace):
    for folder in ("one", "two"):
        run("corpus", folder)
        run("pool", folder, role="pretrain")
        run("speaker", folder, speaker="dora")
    first, second = digests("one"), digests("two")
    # The cuts name the file of their features, which lies in another folder; nothing else differs.
    assert {name for name in first if first[name] != second[name]} == {
        "pools/pretrain/cuts.jsonl.gz",
        "speakers/dora/cuts.jsonl.gz",
    }
    texts = [gzip.decompress(Path(f, "speakers/dora/cuts.jsonl.gz").read_bytes()) for f in ("one", "two")]
    assert texts[0].replace(b"one/", b"two/") == texts[1]


def test_only_the_train_part_of_base_has_copies_at_other_speeds(workplace):
    run("corpus", "out")
    faster = {**SETTINGS, "base_training": {"speed_perturbation": [1.0, 1.1]}}
    for role, copies in (("base", True), ("pretrain", False), ("heldout", False)):
        cuts = list(CutSet.from_file(run("pool", "out", faster, role=role) / "cuts.jsonl.gz"))
        originals = [cut for cut in cuts if "_sp" not in cut.id]
        train = [cut for cut in originals if cut.custom["part"] == "train"]
        assert len(originals) == 6 and len(cuts) == 6 + len(train) * copies


def test_a_target_speaker_changes_nothing_shared(workplace):
    run("corpus", "out")
    run("pool", "out", role="base")
    before = digests("out")
    run("speaker", "out", speaker="dora")
    after = digests("out")
    assert {name: after[name] for name in before} == before


def test_an_unnamed_pool_speaker_can_be_a_target(workplace):
    edit_manifest("\ttarget\t", "\tpool\t")
    run("corpus", "out")
    assert len(list(CutSet.from_file(run("speaker", "out", speaker="dora") / "cuts.jsonl.gz"))) == 6


@pytest.mark.skipif(not AN4.is_dir(), reason=f"no AN4 at {AN4}; set SAML_TEST_AN4 to it")
def test_real_speech(tmp_path):
    settings = copy.deepcopy(SETTINGS)
    settings["corpus"] |= {"max_seconds": 20.0}
    settings["corpus"]["folder"] |= {
        "root": str(AN4),
        "dev_share": 0.1,
        "roles": {"base": ["fash", "fbbh"], "pretrain": ["fclc"], "heldout": ["fejs"]},
    }
    settings["partition"] |= {"scheme": "folds"}
    place = run("corpus", tmp_path, settings)
    supervisions = SupervisionSet.from_file(place / "supervisions.jsonl.gz")
    assert len(supervisions) == 948 and len({s.speaker for s in supervisions}) == 74
    roles = {s.speaker: s.custom["role"] for s in supervisions}
    assert sum(role == "target" for role in roles.values()) == 24
    assert sum(role == "pool" for role in roles.values()) == 46
    cuts = list(CutSet.from_file(run("pool", tmp_path, settings, role="base") / "cuts.jsonl.gz"))
    assert {cut.supervisions[0].speaker for cut in cuts} == {"fash", "fbbh"}
    speaker = next(name for name, role in roles.items() if role == "target")
    place = run("speaker", tmp_path, settings, speaker=speaker)
    folds = json.loads((place / "splits.json").read_text())["folds"]
    tested = sorted(name for fold in folds for name in fold["test"])
    assert tested == sorted(s.id for s in supervisions if s.speaker == speaker)


def test_copies_of_a_recording_stay_in_one_part(workplace, capsys):
    """Two of six recordings of a target speaker are the same: 2 : 1 : 2 of five, and the copy beside it."""
    Path("mine/dora/5.wav").write_bytes(Path("mine/dora/0.wav").read_bytes())
    run("corpus", "out")
    place = run("speaker", "out", speaker="dora")
    (fold,) = json.loads((place / "splits.json").read_text())["folds"]
    assert fold == {
        "train": ["dora-0", "dora-1", "dora-5"],
        "dev": ["dora-2"],
        "test": ["dora-3", "dora-4"],
    }
    assert "the same recording under 2 ids: dora-0 (dora), dora-5 (dora)" in capsys.readouterr().err


def test_each_file_is_decoded_once(workplace):
    """Counted by the operating system: bytes that this process asked for, in each of the stages."""
    for path in Path("mine").rglob("*.wav"):
        noise = np.random.default_rng(sum(str(path).encode())).standard_normal(10 * 16_000)
        soundfile.write(path, 0.1 * noise, 16_000)
    size = path.stat().st_size
    settings = changed(max_seconds=20.0)

    def asked(stage, **options):
        before = int(Path("/proc/self/io").read_text().split()[1])
        run(stage, "out", settings, **options)
        return int(Path("/proc/self/io").read_text().split()[1]) - before

    asked("corpus")  # imports
    assert 24 * size <= asked("corpus") < 24 * 1.5 * size
    assert 6 * size <= asked("pool", role="base") < 6 * 1.5 * size
    assert 6 * size <= asked("speaker", speaker="dora") < 6 * 1.5 * size
