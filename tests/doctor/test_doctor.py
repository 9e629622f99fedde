"""`saml doctor` on installations and configs that are right, odd and wrong."""

import copy
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from saml.doctor import machine as checks
from saml.doctor.diagnosis import base, corpus, count_jobs, disk, doctor, jobs, threads
from saml.runtime.errors import SamlError
from tests.models.conftest import save_checkpoint, section

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


@pytest.fixture
def config():
    return copy.deepcopy(DEFAULT)


def statuses(lines):
    return [line.status for line in lines]


def lines_of(output, status):
    return [line for line in output.splitlines() if line.startswith(status)]


@pytest.mark.slow
def test_this_installation_is_well(config, capsys):
    assert doctor(config, ROOT) == 0
    output = capsys.readouterr().out
    assert lines_of(output, "fail") == []
    for what in ("python", "torchaudio", "gpu", "nf4", "k2", "disk", "config", "threads", "corpus", "jobs"):
        assert any(line.split()[1] == what for line in output.splitlines()), what


def test_a_wrong_config_fails_by_name_and_the_rest_is_still_checked(config, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(checks, heavy, lambda: iter([]))
    config["adaptation"]["passses"] = 3
    assert doctor(config, ROOT) == 1
    output = capsys.readouterr().out
    assert "passses" in lines_of(output, "fail")[0]
    assert "disk" in output and "jobs" not in output


def test_a_library_that_is_asked_for_and_not_there_fails(config, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(checks, heavy, lambda: iter([]))
    for name in ("k2", "icefall"):
        monkeypatch.setitem(sys.modules, name, None)
    config["arms"]["saml"]["adaptation"] = {"ctc_backend": "k2"}
    assert doctor(config, ROOT) == 1
    assert "arms.saml.adaptation.ctc_backend wants k2, which" in lines_of(capsys.readouterr().out, "fail")[0]


def test_a_check_that_breaks_is_a_failure_and_not_the_end(config, capsys, monkeypatch):
    def broken():
        raise OSError("libc10_cuda.so: cannot open shared object file\nand so on")

    for heavy in ("torchaudio", "nf4"):
        monkeypatch.setattr(checks, heavy, lambda: iter([]))
    monkeypatch.setattr(checks, "gpu", broken)
    assert doctor(config, ROOT) == 1
    output = capsys.readouterr().out
    assert "gpu          OSError: libc10_cuda.so: cannot open shared object file\n" in output
    assert "jobs" in output


def test_packages_against_pins(tmp_path, monkeypatch):
    torch = metadata.version("torch").partition("+")[0]
    pins = f"# comment\ntorch=={torch}\npytest==0.1\nno-such-thing==1.0 # x\n"
    (tmp_path / "requirements.txt").write_text(pins)
    missing, other = checks.packages(tmp_path)
    assert (missing.status, missing.finding) == ("fail", "not installed: no-such-thing")
    assert other.status == "warn" and "pytest" in other.finding and "torch" not in other.finding
    (tmp_path / "requirements.txt").write_text("\n".join(pins.splitlines()[:2]))
    assert statuses(checks.packages(tmp_path)) == ["ok"]
    assert statuses(checks.packages(tmp_path / "elsewhere")) == ["warn"]


def test_old_python(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 10, 1))
    assert next(checks.python()).status == "fail"


def test_a_missing_torchaudio_fails(monkeypatch):
    monkeypatch.setattr("saml.compat.torchaudio.ensure", lambda: False)
    assert statuses(checks.torchaudio()) == ["fail"]


@pytest.mark.parametrize(("free", "status"), [(5e8, "fail"), (3e9, "warn"), (1e11, "ok")])
def test_disk_space(tmp_path, monkeypatch, free, status):
    class Usage:
        pass

    usage = Usage()
    usage.free = free
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert statuses(disk(tmp_path / "not" / "there")) == [status]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert statuses(disk(tmp_path)) == ["fail"]


def test_more_threads_than_cores_warns(config, monkeypatch):
    monkeypatch.setattr(checks, "cores", lambda: 2)
    assert statuses(threads(config)) == ["ok"]
    config["threads"]["train_base"] = 8
    (line,) = threads(config)
    assert line.status == "warn" and "threads.train_base" in line.advice


@pytest.mark.parametrize("speaker", ["nobody", "xx_f2_r155_p55"])
def test_a_voice_that_espeak_lacks(config, speaker, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(checks, heavy, lambda: iter([]))
    config["target_speakers"] = [speaker]
    assert doctor(config, ROOT) == 1
    assert "corpus" in lines_of(capsys.readouterr().out, "fail")[0]


@pytest.fixture
def folder(config, tmp_path):
    config["corpus"]["name"] = "folder"
    config["corpus"]["folder"] |= {"root": str(tmp_path), "roles": {"base": ["a"]}}
    config["target_speakers"] = ["b"]
    (tmp_path / "manifest.tsv").write_text(
        "utterance\tspeaker\tfile\ttext\n1\ta\t1.flac\tone\n2\tb\t2.flac\ttwo\n"
    )
    for name in ("1.flac", "2.flac"):
        (tmp_path / name).touch()
    return config


def test_a_folder_corpus(folder, tmp_path):
    (line,) = corpus(folder)
    assert (line.status, line.finding) == ("ok", f"2 utterances of 2 speakers in {tmp_path}")


def test_a_folder_corpus_with_holes(folder, tmp_path):
    (tmp_path / "2.flac").unlink()
    folder["target_speakers"].append("nobody")
    found = [line.finding for line in corpus(folder) if line.status == "fail"]
    assert found == [
        "speaker 'nobody' has no utterances in the manifest",
        f"1 files are missing, the first: {tmp_path}/2.flac",
    ]


def test_a_missing_corpus_says_how_to_get_it(folder, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(checks, heavy, lambda: iter([]))
    folder["corpus"]["folder"]["root"] = "nowhere"
    folder["partition"]["scheme"] = "folds"
    assert doctor(folder, ROOT) == 1
    assert "SAML_FOLDER_ROOT" in lines_of(capsys.readouterr().out, "fail")[0]


def test_a_given_base_is_read_and_counted(config, tmp_path):
    assert list(base(config)) == []
    folder = save_checkpoint(tmp_path / "checkpoint")
    config["model"] = section(folder)
    (line,) = base(config)
    assert line.status == "ok" and line.finding.endswith(f"MB in {folder}")
    counts = count_jobs(config)
    assert (counts["train-base"], counts["import-base"], counts["prepare-pool"]) == (0, 1, 2)
    (folder / "vocab.json").unlink()
    with pytest.raises(SamlError, match=r"has no vocab\.json"):
        list(base(config))


def test_jobs_are_counted(config):
    assert count_jobs(config)["adapt"] == 3 * 7
    assert count_jobs(config)["decode"] == 5 * 7 + 2
    config["seeds"] = [1, 2, 3]
    counts = count_jobs(config)
    assert (counts["adapt"], counts["decode"]) == (3 * 7 * 3, 3 * 7 * 3 + 2 * 7 + 2)
    assert (counts["initialise-experts"], counts["pretrain"]) == (3, 6)
    config["run_arms"] = ["fp32"]
    counts = count_jobs(config)
    assert (counts["quantise"], counts["prepare-pool"], counts["pretrain"], counts["adapt"]) == (0, 2, 0, 0)
    (line,) = jobs(config)
    assert line.finding.startswith("22 from nothing: 1 prepare-corpus")
