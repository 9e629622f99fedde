"""The folder corpus: manifest, roles, audio, and their errors."""

import collections

import numpy as np
import pytest
import soundfile

from saml.corpora import folder, grammar
from saml.corpora import utterance_checks as checks
from saml.runtime.errors import SamlError

ROWS = [
    ("a1", "anna", "a/1.wav", "Hello there"),
    ("a2", "anna", "a/2.wav", "good morning"),
    ("b1", "bert", "b/1.wav", "one two"),
    ("b2", "bert", "b/2.wav", "three"),
    ("c1", "carl", "c/1.wav", "four"),
]


def tone(path, seconds=0.5, rate=16_000, channels=1, hertz=None, **options):
    """A tone of its own for every name: equal recordings are one recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hertz = hertz or 300 + 13 * sum(path.name.encode()) + sum(path.parent.name.encode())
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, **options)


def write_manifest(root, lines, columns=("utterance", "speaker", "file", "text")):
    text = "\n".join("\t".join(line) for line in [columns, *lines])
    (root / "manifest.tsv").write_text(text + "\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "mine"
    for row in ROWS:
        tone(root / row[2])
    write_manifest(root, ROWS)
    return root


def settings(root, on_bad="error", **changes):
    root = str(root) if root else None
    own = {"root": root, "manifest": "manifest.tsv", "roles": {}, "dev_share": 0.5, "seed": 1}
    own |= {"heldout_utterances": None, "synthetic_speech": {"voices": 0}}
    return {"name": "folder", "on_bad_utterance": on_bad, "folder": own | changes}


def prepare(root, tmp_path, **changes):
    return folder.prepare_corpus(settings(root, **changes), tmp_path / "audio")


def test_recordings_in_the_right_format_are_used_in_place(root, tmp_path):
    recordings, supervisions, dropped = prepare(root, tmp_path)
    assert [r.id for r in recordings] == [s.id for s in supervisions] == [row[0] for row in ROWS]
    assert [r.sources[0].source for r in recordings] == [str(root / row[2]) for row in ROWS]
    assert {(r.sampling_rate, r.num_samples, r.duration) for r in recordings} == {(16_000, 8_000, 0.5)}
    assert [(s.speaker, s.text, s.custom) for s in supervisions][0] == (
        "anna",
        "Hello there",
        {"role": "pool"},
    )
    assert dropped == [] and not (tmp_path / "audio").exists()


def test_relative_paths_stay_relative(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recordings, _, _ = prepare("mine", tmp_path)
    assert next(iter(recordings)).sources[0].source == "mine/a/1.wav"


def test_other_rates_and_channels_are_converted(root, tmp_path):
    tone(root / "a/1.wav", rate=44_100, channels=2, hertz=440)
    tone(root / "a/2.wav", rate=8_000, hertz=440)
    recordings, _, _ = prepare(root, tmp_path)
    by_id = {recording.id: recording for recording in recordings}
    for name in ("a1", "a2"):
        path = by_id[name].sources[0].source
        assert path == str(tmp_path / f"audio/anna/{name}.flac")
        samples, rate = soundfile.read(path)
        assert rate == 16_000 and len(samples) == by_id[name].num_samples == 8_000
        # Still the same tone at the same level: 440 Hz is bin 220 of 0.5 s.
        spectrum = np.abs(np.fft.rfft(samples))
        assert spectrum.argmax() == 220 and np.sqrt(np.mean(samples**2)) == pytest.approx(
            0.3 / 2**0.5, rel=0.02
        )
    assert by_id["b1"].sources[0].source == str(root / "b/1.wav")


def test_channels_are_averaged(root, tmp_path):
    left = 0.3 * np.sin(np.arange(8_000) / 10)
    soundfile.write(root / "a/1.wav", np.stack([left, np.zeros(8_000)], axis=1), 16_000)
    recordings, _, _ = prepare(root, tmp_path)
    samples, _ = soundfile.read(next(iter(recordings)).sources[0].source)
    assert np.abs(samples - left / 2).max() < 2**-14  # of 16 bits


def test_roles_of_the_manifest_and_of_the_config(root, tmp_path):
    columns = ("utterance", "speaker", "role", "file", "text")
    roles = {"anna": "base", "bert": "pool", "carl": "target"}
    write_manifest(root, [(u, s, roles[s], f, t) for u, s, f, t in ROWS], columns)

    def found(**changes):
        return {s.speaker: s.custom["role"] for s in prepare(root, tmp_path, **changes)[1]}

    assert found() == roles
    assert found(roles={"pretrain": ["bert"]}) == {"anna": "base", "bert": "pretrain", "carl": "target"}
    # A role that the config lists has these speakers and no others.
    assert found(roles={"base": ["bert"]}) == {"anna": "pool", "bert": "base", "carl": "target"}
    assert found(roles={"heldout": ["carl"]})["carl"] == "heldout"


def test_two_roles_are_named_as_the_manifest_has_them(root, tmp_path):
    columns = ("utterance", "speaker", "role", "file", "text")
    roles = {"anna": "base", "bert": "pretrain", "carl": "target"}
    rows = [(u, s, roles[s], f, t) for u, s, f, t in ROWS]
    rows.append(("b9", "bert", "", *rows[-1][3:]))
    write_manifest(root, rows, columns)
    nobody = {"base": [], "pretrain": [], "heldout": []}
    with pytest.raises(SamlError, match="speaker bert has two roles in the manifest, pretrain and none"):
        prepare(root, tmp_path, roles=nobody)
    _, supervisions, _ = prepare(root, tmp_path, roles={"heldout": ["bert"]})  # which decides for all of them
    assert {s.custom["role"] for s in supervisions if s.speaker == "bert"} == {"heldout"}


def test_parts_of_the_pools(root, tmp_path):
    roles = {"base": ["anna"], "pretrain": ["bert"], "heldout": ["carl"]}
    _, supervisions, _ = prepare(root, tmp_path, roles=roles)
    parts = collections.Counter((s.custom["role"], s.custom["part"]) for s in supervisions)
    assert parts == {
        ("base", "train"): 1,
        ("base", "dev"): 1,
        ("pretrain", "train"): 1,
        ("pretrain", "dev"): 1,
        ("heldout", "test"): 1,
    }


def test_heldout_can_be_limited(root, tmp_path):
    roles = {"heldout": ["anna", "bert"]}
    _, all_of_it, _ = prepare(root, tmp_path, roles=roles)
    _, some, _ = prepare(root, tmp_path, roles=roles, heldout_utterances=2)
    heldout = [s.id for s in some if s.custom["role"] == "heldout"]
    assert len(all_of_it) == 5 and len(some) == 3 and len(heldout) == 2


def test_target_speaker_is_filtered(root, tmp_path):
    recordings, supervisions, _ = prepare(root, tmp_path, roles={"base": ["anna"]})
    mine = folder.prepare_speaker(settings(root), "bert", recordings, supervisions, tmp_path)
    assert [r.id for r in mine[0]] == [s.id for s in mine[1]] == ["b1", "b2"]
    assert {s.custom["role"] for s in mine[1]} == {"target"}
    with pytest.raises(SamlError, match="speaker berta has no utterances .* for example with bert"):
        folder.prepare_speaker(settings(root), "berta", recordings, supervisions, tmp_path)
    with pytest.raises(SamlError, match="speaker anna has the role base"):
        folder.prepare_speaker(settings(root), "anna", recordings, supervisions, tmp_path)


def test_root_from_the_environment(root, tmp_path, monkeypatch):
    monkeypatch.setenv(folder.ROOT_VARIABLE, str(root))
    assert len(prepare(None, tmp_path)[1]) == 5


def test_the_error_for_a_missing_corpus_has_instructions(tmp_path, monkeypatch):
    monkeypatch.delenv(folder.ROOT_VARIABLE, raising=False)
    for root, message in (
        (None, "no folder is configured"),
        (tmp_path / "nowhere", "nowhere/manifest.tsv does not exist"),
    ):
        with pytest.raises(SamlError, match=f"{message}.*SAML_FOLDER_ROOT.*AN4") as error:
            prepare(root, tmp_path)
        assert "\n" not in str(error.value)


BAD_MANIFESTS = {
    "missing columns": (("utterance", "name"), [], "lacks the columns speaker, file, text"),
    "no lines": (None, [], "no utterances after the first line"),
    "missing field": (None, [("a1", "anna", "a/1.wav")], "line 2: 3 fields"),
    "no speaker": (None, [("a1", "", "a/1.wav", "x")], "line 2: the speaker is empty"),
    "twice": (None, [ROWS[0], ROWS[1], ROWS[0]], "utterance a1 is listed twice"),
    "upwards": (None, [("a1", "anna", "../secret.wav", "x")], r"line 2: the file ../secret.wav is outside"),
    "hidden upwards": (None, [("a1", "anna", "a/../../secret.wav", "x")], "is outside"),
    "absolute": (None, [("a1", "anna", "/etc/passwd", "x")], "/etc/passwd is outside"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifests(root, tmp_path, case):
    columns, lines, message = BAD_MANIFESTS[case]
    write_manifest(root, lines, columns or ("utterance", "speaker", "file", "text"))
    with pytest.raises(SamlError, match=message):
        prepare(root, tmp_path)


def test_bad_roles(root, tmp_path):
    for roles, message in (
        ({"base": ["zoe"]}, "roles.base: speaker zoe has no utterances"),
        ({"base": ["anna"], "heldout": ["anna"]}, "speaker anna is listed in base and heldout"),
        ({"test": ["anna"]}, "no role 'test'"),
    ):
        with pytest.raises(SamlError, match=message):
            prepare(root, tmp_path, roles=roles)
    columns = ("utterance", "speaker", "file", "text", "role")
    write_manifest(root, [(*ROWS[0], "base"), (*ROWS[1], "heldout")], columns)
    with pytest.raises(SamlError, match="speaker anna has two roles"):
        prepare(root, tmp_path)
    write_manifest(root, [(*ROWS[0], "train")], columns)
    with pytest.raises(SamlError, match="line 2: there is no role 'train'"):
        prepare(root, tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_flac(path):
    noise = np.random.default_rng(0).standard_normal(16_000) * 0.1
    soundfile.write(path, noise, 16_000, format="FLAC")


BAD_AUDIO = {
    "missing": (lambda path: path.unlink(), "is missing"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "no samples": (lambda path: tone(path, seconds=0), "contains no samples"),
    "truncated wav": (truncate, "is truncated"),
    "truncated flac": (lambda path: (as_flac(path), truncate(path)), "is truncated"),
    "text": (lambda path: path.write_text("not audio at all\n" * 100), "is not a readable audio file"),
    "not finite": (
        lambda path: soundfile.write(path, np.full(8_000, np.nan), 16_000, subtype="FLOAT"),
        "contains samples that are not finite",
    ),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio_is_named_or_dropped(root, tmp_path, case):
    spoil, message = BAD_AUDIO[case]
    spoil(root / "b/1.wav")
    with pytest.raises(SamlError, match=rf"utterance b1 of speaker bert \(.*b/1.wav\): the file {message}"):
        prepare(root, tmp_path)
    _, supervisions, dropped = prepare(root, tmp_path, on_bad="drop")
    assert [s.id for s in supervisions] == ["a1", "a2", "b2", "c1"]
    assert len(dropped) == 1 and dropped[0][:2] == ("b1", "bert") and message in dropped[0].reason


def test_a_file_with_another_duration_than_in_the_manifest(root, tmp_path):
    columns = ("utterance", "speaker", "file", "text", "seconds")
    write_manifest(root, [(*ROWS[0], "0.6"), (*ROWS[1], "0.8")], columns)
    with pytest.raises(SamlError, match=r"utterance a2 .*contains 0.50 s, but the manifest says 0.8 s"):
        prepare(root, tmp_path)
    write_manifest(root, [(*ROWS[0], "long")], columns)
    with pytest.raises(SamlError, match="line 2: seconds 'long' is not a number"):
        prepare(root, tmp_path)


def test_dropped_table(tmp_path):
    path = tmp_path / "dropped.tsv"
    checks.write_dropped([checks.Dropped("u1", "anna", "a.wav", "too\tlong\nby far")], path)
    assert path.read_text() == "utterance\tspeaker\tfile\treason\nu1\tanna\ta.wav\ttoo long by far\n"


def test_synthetic_speech_has_the_words_of_the_training_transcripts(root, tmp_path):
    """Only those of base's train part, each sentence a reordering of one; other utterances do not change."""
    pytest.importorskip("espeakng_loader")
    roles = {"roles": {"base": ["anna", "bert"], "heldout": ["carl"]}}
    voices = {"voices": 2, "sentences": 3, "commands": 0, "snr_db": [20, 20], "gain_db": [0, 0]}
    plain = prepare(root, tmp_path, **roles)[1]
    recordings, supervisions, _ = prepare(root, tmp_path, **roles, synthetic_speech=voices)
    assert [s.to_dict() for s in supervisions][:5] == [s.to_dict() for s in plain]
    synthetic = list(supervisions)[5:]
    assert len(synthetic) == 6 and len({s.speaker for s in synthetic}) == 2
    assert all(s.custom == {"role": "base", "part": "train", "synthetic": "transcripts"} for s in synthetic)
    trained = {
        tuple(sorted(s.text.lower().split())) for s in plain if s.custom == {"role": "base", "part": "train"}
    }
    assert 1 <= len(trained) < 4 and {tuple(sorted(s.text.split())) for s in synthetic} <= trained
    assert all(0.2 < r.duration < 5 for r in list(recordings)[5:])


def test_synthetic_speech_needs_transcripts(root, tmp_path):
    """Empty transcripts are not used; the stage that prepares the pool reports or drops them."""
    pytest.importorskip("espeakng_loader")
    voices = {"voices": 1, "sentences": 3, "commands": 0, "snr_db": [20, 20], "gain_db": [0, 0]}
    with pytest.raises(SamlError, match=r"folder\.synthetic_speech: there are no transcripts of role base"):
        prepare(root, tmp_path, roles={"heldout": ["carl"]}, synthetic_speech=voices)
    manifest = root / "manifest.tsv"
    lines = manifest.read_text().splitlines()
    empty = next(index for index, line in enumerate(lines) if "\tanna\t" in line)
    lines[empty] = lines[empty].rpartition("\t")[0] + "\t "
    manifest.write_text("\n".join(lines) + "\n")
    roles = {"roles": {"base": ["anna", "bert"], "heldout": ["carl"]}}
    synthetic = [
        s for s in prepare(root, tmp_path, **roles, synthetic_speech=voices)[1] if s.custom.get("synthetic")
    ]
    assert len(synthetic) == 3 and all(s.text for s in synthetic)


def test_synthetic_voices_speak_commands_too(root, tmp_path):
    pytest.importorskip("espeakng_loader")
    roles = {"roles": {"base": ["anna", "bert"], "heldout": ["carl"]}}
    voices = {"voices": 2, "sentences": 3, "commands": 2, "snr_db": [20, 20], "gain_db": [0, 0]}
    supervisions = prepare(root, tmp_path, **roles, synthetic_speech=voices)[1]
    kinds = [s.custom.get("synthetic") for s in supervisions]
    assert (kinds.count("transcripts"), kinds.count("commands")) == (6, 4)
    for supervision in supervisions:
        if supervision.custom.get("synthetic") == "commands":
            words = supervision.text.split()
            assert all(word in slot for word, slot in zip(words, grammar.SLOTS, strict=True))
