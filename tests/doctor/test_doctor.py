"""`saml doctor` on valid, unusual and broken installations and configurations; each number that it prints."""

import copy
import re
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from saml.doctor import machine
from saml.doctor.diagnosis import (
    base,
    corpus,
    count_jobs,
    disk,
    doctor,
    jobs,
    threads,
)
from saml.runtime.errors import SamlError
from tests.models.conftest import save_checkpoint, section

# Of 4-bit NormalFloat (Dettmers et al. 2023, appendix E).
NF4 = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
    *(0.7229568362236023, 1.0),
]
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
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    config["adaptation"]["passses"] = 3
    assert doctor(config, ROOT) == 1
    output = capsys.readouterr().out
    assert "passses" in lines_of(output, "fail")[0]
    assert "disk" in output and "jobs" not in output


def test_a_library_that_is_asked_for_and_not_there_fails(config, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    for name in ("k2", "icefall"):
        monkeypatch.setitem(sys.modules, name, None)
    config["arms"]["saml"]["adaptation"] = {"ctc_backend": "k2"}
    assert doctor(config, ROOT) == 1
    assert "arms.saml.adaptation.ctc_backend wants k2, which" in lines_of(capsys.readouterr().out, "fail")[0]


def test_a_check_that_breaks_is_a_failure_and_not_the_end(config, capsys, monkeypatch):
    def broken():
        raise OSError("libc10_cuda.so: cannot open shared object file\nand so on")

    for heavy in ("torchaudio", "nf4"):
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    monkeypatch.setattr(machine, "gpu", broken)
    assert doctor(config, ROOT) == 1
    output = capsys.readouterr().out
    assert "gpu          OSError: libc10_cuda.so: cannot open shared object file\n" in output
    assert "jobs" in output


def test_a_file_that_cannot_be_read_is_no_defect(config, capsys, monkeypatch):
    def unreadable():
        raise PermissionError(13, "Permission denied", "voice/manifest.tsv")

    for heavy in ("torchaudio", "nf4"):
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    monkeypatch.setattr(machine, "gpu", unreadable)
    assert doctor(config, ROOT) == 1
    output = capsys.readouterr().out
    assert "fail  gpu          voice/manifest.tsv: Permission denied\n" in output
    assert "report this defect" not in output


def test_packages_against_pins(tmp_path, monkeypatch):
    version = metadata.version("torch").partition("+")[0]
    pins = f"# comment\ntorch=={version}\npytest==0.1\nno-such-thing==1.0 # x\n"
    (tmp_path / "requirements.txt").write_text(pins)
    missing, other = machine.packages(tmp_path)
    assert (missing.status, missing.finding) == ("fail", "not installed: no-such-thing")
    assert other.status == "warn" and "pytest" in other.finding and "torch" not in other.finding
    pytest_ = metadata.version("pytest")
    (tmp_path / "requirements.txt").write_text(f"# comment\ntorch=={version}\n\npytest=={pytest_}\n")
    (line,) = machine.packages(tmp_path)
    assert (line.status, line.finding) == ("ok", "all 2 at the tested versions")
    assert statuses(machine.packages(tmp_path / "elsewhere")) == ["warn"]


def test_old_python(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 10, 1))
    assert next(machine.python()).status == "fail"


def test_a_missing_torchaudio_fails(monkeypatch):
    monkeypatch.setattr(machine, "ensure", lambda: False)
    assert statuses(machine.torchaudio()) == ["fail"]


@pytest.mark.parametrize(
    ("free", "status", "printed"), [(5e8, "fail", "0.5"), (3.25e9, "warn", "3.2"), (1.5e11, "ok", "150.0")]
)
def test_disk_space(tmp_path, monkeypatch, free, status, printed):
    """In GB of 10^9 bytes, of the nearest folder that exists."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    (line,) = disk(tmp_path / "not" / "there")
    assert (line.status, line.finding) == (status, f"{printed} GB free in {tmp_path}")


@pytest.mark.parametrize(("pages", "status"), [(2**20, "ok"), (2**19, "warn")])
def test_memory(monkeypatch, pages, status):
    """In GiB: here with pages of 4,096 bytes."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": pages}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    (line,) = machine.memory()
    assert (line.status, line.finding) == (status, "4.0 GiB" if status == "ok" else "2.0 GiB")


def test_cores_are_those_of_the_process():
    allowed = re.search(r"^Cpus_allowed:\s*([0-9a-f,]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert machine.cores() == int(allowed[1].replace(",", ""), 16).bit_count()


def test_gpus_are_listed_with_their_memory(monkeypatch):
    sizes = [8, 80]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(sizes))
    properties = [SimpleNamespace(name=f"GPU{size}", total_memory=size * 1024**3) for size in sizes]
    monkeypatch.setattr("torch.cuda.get_device_properties", properties.__getitem__)
    (line,) = machine.gpu()
    assert line.finding == f"GPU8 (8 GiB), GPU80 (80 GiB), torch {torch.__version__}"


def test_the_error_of_nf4_is_that_of_its_sixteen_values():
    """Independently: the nearest of the 16 published values, times the largest weight of each block of 64."""
    values = torch.tensor(NF4)
    blocks = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    nearest = (blocks / scale)[..., None].sub(values).abs().argmin(dim=-1)
    error = (blocks - values[nearest] * scale).abs().mean()
    (line,) = machine.nf4()
    assert line.status == "ok" and line.finding.endswith(f"(mean error {error:.3f})")


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert statuses(disk(tmp_path)) == ["fail"]


def test_more_threads_than_cores_warns(config, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    (line,) = threads(config)
    assert (line.status, line.finding) == ("ok", "2 cores; threads of a job: train_base 2, default 1")
    config["threads"]["train_base"] = 3
    (line,) = threads(config)
    assert (line.status, line.finding) == ("warn", "2 cores; threads of a job: train_base 3, default 1")
    assert line.advice.startswith("set threads.train_base to at most 2: ")


def test_target_voices_are_counted(config):
    config["target_speakers"] = config["target_speakers"][:3]
    (line,) = corpus(config)
    assert (line.status, line.finding) == ("ok", "espeak-ng has the voices of all 3 target speakers")


@pytest.mark.parametrize("speaker", ["nobody", "xx_f2_r155_p55"])
def test_a_voice_that_espeak_lacks(config, speaker, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    config["target_speakers"] = [speaker]
    assert doctor(config, ROOT) == 1
    assert "corpus" in lines_of(capsys.readouterr().out, "fail")[0]


def test_a_missing_corpus_says_how_to_get_it(config, capsys, monkeypatch):
    for heavy in ("torchaudio", "gpu", "nf4"):
        monkeypatch.setattr(machine, heavy, lambda: iter([]))
    config["corpus"]["name"] = "folder"
    config["corpus"]["folder"]["root"] = "nowhere"
    config["partition"]["scheme"] = "folds"
    assert doctor(config, ROOT) == 1
    assert "SAML_FOLDER_ROOT" in lines_of(capsys.readouterr().out, "fail")[0]


def test_a_given_base_is_read_and_counted(config, tmp_path):
    assert list(base(config)) == []
    machine.ensure()  # before transformers, see saml.compat.torchaudio
    folder = save_checkpoint(tmp_path / "checkpoint")
    config["model"] = section(folder)
    (line,) = base(config)
    size = (folder / "model.safetensors").stat().st_size
    assert (line.status, line.finding) == ("ok", f"a checkpoint of {size / 1e6:.1f} MB in {folder}")
    counts = count_jobs(config)
    assert (counts["train-base"], counts["import-base"], counts["prepare-pool"]) == (0, 1, 2)
    (folder / "vocab.json").unlink()
    with pytest.raises(SamlError, match=r"has no vocab\.json"):
        list(base(config))


def test_the_sum_of_jobs_is_that_of_the_stages(config):
    """tests/workflow/test_doctor_counts.py compares the stages with the jobs that Snakemake plans."""
    (line,) = jobs(config)
    total, _, parts = line.finding.partition(" for a new experiment: ")
    listed = dict(part.split(" ")[::-1] for part in parts.split(", "))
    assert {stage: int(count) for stage, count in listed.items()} == {
        "prepare-corpus": 1,
        "prepare-pool": 3,  # base, pretrain, heldout
        "prepare-speaker": 7,
        "train-base": 1,
        "quantise": 1,
        "initialise-experts": 1,  # saml
        "pretrain": 2,  # pqm, saml
        "adapt": 3 * 7,
        "decode": 5 * 7 + 2,  # five arms of seven speakers; fp32 and nf4 on held-out speakers
        "routes": 7,
        "routing": 1,
        "tabulate": 1,
        "figures": 1,
        "transcripts": 1,
        "index": 1,
    }
    assert int(total) == 1 + 3 + 7 + 1 + 1 + 1 + 2 + 21 + 37 + 7 + 1 + 1 + 1 + 1 + 1


def test_jobs_of_several_seeds_and_of_one_arm(config):
    config["seeds"] = [1, 2, 3]
    counts = count_jobs(config)
    assert (counts["adapt"], counts["decode"]) == (3 * 7 * 3, 3 * 7 * 3 + 2 * 7 + 2)
    assert (counts["initialise-experts"], counts["pretrain"], counts["routes"]) == (3, 6, 21)
    config["run_arms"] = ["fp32"]
    counts = count_jobs(config)
    assert (counts["quantise"], counts["prepare-pool"], counts["pretrain"], counts["adapt"]) == (0, 2, 0, 0)
    assert sum(counts.values()) == 1 + 2 + 7 + 1 + (7 + 1) + 1 + 1 + 1 + 1
