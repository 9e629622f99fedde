"""A base model on the Hugging Face hub: `saml import-base` and `saml doctor` with a hub on this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from saml.compat.torchaudio import ensure
from saml.stages.import_base import import_base
from tests.models.conftest import save_bpe_checkpoint, save_checkpoint, section
from tests.models.stand_in_hub import COMMIT, Hub, Machine, running_hub

ensure()  # before transformers, with which these models are written

# In every repository of a well-known Whisper, and never read.
UNREAD = ("model.fp32-00001-of-00002.safetensors", "flax_model.msgpack", "tf_model.h5", "onnx/encoder.onnx")
MODEL = section("hf://me/tiny", characters=None)
NOBODY = "http://127.0.0.1:9"  # where nothing listens


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Machine:
    return Machine(hub, tmp_path / "home")


@pytest.fixture
def whole(hub: Hub, tmp_path: Path) -> Path:
    """The folder of me/tiny on the hub: a Whisper in one file, among files that nothing reads."""
    folder = hub.models["me/tiny"] = save_bpe_checkpoint(tmp_path / "whole")
    for name in (*UNREAD, "pytorch_model.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"unread")
    return folder


def in_shards(folder: Path, kind: str) -> Path:
    """The weights of a checkpoint written anew: shards by transformers, or torch's files by torch alone."""
    from transformers import WhisperForConditionalGeneration

    whole = folder / "model.safetensors"
    if kind == "safetensors":
        network = WhisperForConditionalGeneration.from_pretrained(folder)
        whole.unlink()
        network.save_pretrained(folder, max_shard_size="60kB")
        return folder
    tensors = load_file(whole)
    whole.unlink()
    if kind == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, own in shards.items():
        torch.save({name: tensors[name] for name in own}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def files_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("model.safetensors", "model.json", "tokenizer.json")}


def well(done: Any) -> None:
    assert done.returncode == 0, done.stderr


def error_of(done: Any) -> str:
    """The one line with which a command failed."""
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.slow
def test_it_is_downloaded_once_and_only_what_is_read(
    hub: Hub, machine: Machine, whole: Path, tmp_path: Path
) -> None:
    """The result is that of the same files in a folder, for which the hub is not asked either."""
    well(machine.import_base(MODEL, tmp_path / "first"))
    assert sorted(hub.sent) == sorted(
        ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"]
    )
    hub.forget()
    well(machine.import_base(MODEL, tmp_path / "second"))
    well(machine.import_base(section(whole, characters=None), tmp_path / "folder"))
    assert hub.asked == []
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second") == files_of(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["safetensors", "bin", "bin in shards"])
def test_every_kind_of_weights_is_read(
    hub: Hub, machine: Machine, whole: Path, tmp_path: Path, kind: str
) -> None:
    """The same weights in other files, fetched from the hub: the same model, and no file too many."""
    out = tmp_path / "expected"
    import_base(
        experiment="test",
        settings={"model": section(whole, characters=None)},
        out_weights=out / "model.safetensors",
        out_description=out / "model.json",
        record=out / "run.jsonl",
    )
    (whole / "pytorch_model.bin").unlink()
    weights = [path.name for path in in_shards(whole, kind).iterdir() if "model" in path.name]
    hub.forget()
    well(machine.import_base(MODEL, tmp_path / "out"))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")
    read = [name for name in weights if name not in UNREAD]
    assert len(read) == {"safetensors": len(read), "bin": 1, "bin in shards": 3}[kind]
    assert kind != "safetensors" or len(read) > 3
    assert sorted(hub.sent) == sorted(["config.json", "generation_config.json", "tokenizer.json", *read])


@pytest.mark.slow
def test_what_is_missing_in_the_cache_is_fetched_and_nothing_else(
    hub: Hub, machine: Machine, whole: Path, tmp_path: Path
) -> None:
    in_shards(whole, "safetensors")
    well(machine.import_base(MODEL, tmp_path / "first"))
    shard = sorted(path.name for path in whole.glob("model-*.safetensors"))[1]
    gone = ["generation_config.json", "tokenizer.json", shard]
    for name in gone:
        machine.drop(name)
    hub.forget()
    refused = error_of(machine.import_base(MODEL, tmp_path / "out", HF_HUB_OFFLINE="1"))
    assert hub.asked == []
    assert "hf://me/tiny: generation_config.json is not in the cache" in refused
    assert "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set in your environment" in refused
    well(machine.import_base(MODEL, tmp_path / "second"))
    assert sorted(hub.sent) == sorted(gone)
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    machine.drop(shard)
    refused = error_of(machine.import_base(MODEL, tmp_path / "out", HF_ENDPOINT=NOBODY))
    assert f"hf://me/tiny: cannot download {shard} ([Errno 111] Connection refused); run" in refused
    assert "copy the model's folder here" in refused


@pytest.mark.slow
def test_a_download_that_breaks_off_is_resumed(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    """At once with the rest of the file, later with that file; 13 MB, for the library reads 10 at a time."""
    folder = hub.models["me/tiny"] = save_checkpoint(
        tmp_path / "large", torch.float32, encoder_layers=1, encoder_ffn_dim=50_000
    )
    size = (folder / "model.safetensors").stat().st_size
    hub.cuts["model.safetensors"] = (size - 9, 1)
    well(machine.import_base(section("hf://me/tiny"), tmp_path / "out"))
    ranges = [
        asked[2] for asked in hub.asked if asked[0] == "GET" and asked[1].endswith("/model.safetensors")
    ]
    assert ranges[0] is None and len(ranges) == 2 and 0 < int(ranges[1].strip("bytes=-")) < size
    assert machine.cached("model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    machine.drop("model.safetensors")
    hub.cuts["model.safetensors"] = (100, 1000)
    hub.forget()
    refused = error_of(machine.import_base(section("hf://me/tiny"), tmp_path / "out"))
    assert "hf://me/tiny: cannot download model.safetensors (" in refused
    assert "run the command again, files that are complete are kept" in refused
    hub.cuts.clear()
    hub.forget()
    well(machine.import_base(section("hf://me/tiny"), tmp_path / "again"))
    assert hub.sent == ["model.safetensors"]


def test_a_cache_that_other_programs_filled_is_enough(hub: Hub, machine: Machine, whole: Path) -> None:
    """They fetch file by file, and note which ones a model has not."""
    (whole / "generation_config.json").unlink()
    fetch = """
import sys
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
for name in sys.argv[1:]:
    try: hf_hub_download("me/tiny", name)
    except EntryNotFoundError: print("no", name)
"""
    names = ("config.json", "generation_config.json", "tokenizer.json", "model.safetensors")
    assert machine.python("-c", fetch, *names).stdout == "no generation_config.json\n"
    hub.forget()
    find = f"from saml.models.checkpoints.source import checkpoint_path\nprint(checkpoint_path({MODEL!r}))"
    done = machine.python("-c", find, HF_HUB_OFFLINE="1")
    assert done.stdout.strip() == str(machine.cached("config.json").parent) and hub.asked == []


def test_what_the_hub_refuses_is_said(hub: Hub, machine: Machine, whole: Path) -> None:
    def refused(name: str) -> str:
        return machine.refusal(section(name, characters=None))

    assert "hf://me/other: the hub has no such model, or it is private; check the name" in refused(
        "hf://me/other"
    )
    assert "hf://me/tiny@v9: the model has no such revision" in refused("hf://me/tiny@v9")
    assert "hf://tiny is not hf://<owner>/<name>[@<revision>]" in refused("hf://tiny")
    hub.gated.add("me/tiny")
    message = "restricts access; ask for it at https://huggingface.co/me/tiny, then `hf auth login`"
    assert message in refused("hf://me/tiny")
    assert not machine.home.joinpath("hub/models--me--tiny/snapshots", COMMIT).exists()


def test_another_thing_on_the_hub_is_named(hub: Hub, machine: Machine, whole: Path, tmp_path: Path) -> None:
    """By the names of its files, of which none that is large is fetched."""
    adapter = hub.models["me/adapter"] = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "openai/whisper-small"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"large")
    refused = machine.refusal(section("hf://me/adapter", characters=None))
    assert "hf://me/adapter is a PEFT adapter of openai/whisper-small, not a whole model; merge" in refused
    (whole / "model.safetensors").unlink()
    (whole / "pytorch_model.bin").unlink()
    done = machine.import_base(MODEL, tmp_path / "out")
    message = "hf://me/tiny is an ONNX model (onnx/encoder.onnx); name the transformers"
    assert message in error_of(done)
    hub.forget()
    assert message in machine.refusal(MODEL) and hub.asked == []
    assert {"adapter_model.safetensors", *UNREAD}.isdisjoint(hub.sent)


@pytest.mark.slow
def test_doctor_fetches_what_a_tokeniser_left_and_sees_a_cut_cache(
    hub: Hub, machine: Machine, whole: Path, tmp_path: Path
) -> None:
    """A cache with the tokeniser alone, as AutoTokenizer leaves it; then one whose weights are cut short."""
    shutil.copytree(whole, tmp_path / "all")
    hub.models["me/tiny"] = tmp_path / "all"
    config = tmp_path / "hub.yaml"
    own = {"checkpoint": "hf://me/tiny", "characters": None, "ctc_head": False}
    own["features"] = {"bins": 80, "pad_seconds": 1.4}
    without = {"ctc_weight": 0}
    content = {"model": {"family": "whisper", "whisper": own}, "adaptation": without, "pretraining": without}
    content |= {"decoding": without}
    config.write_text(yaml.safe_dump(content))
    snapshot = machine.cached("tokenizer.json")
    snapshot.parent.mkdir(parents=True)
    shutil.copy(whole / "tokenizer.json", snapshot)
    refs = snapshot.parents[2] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)

    def base() -> str:
        done = machine.saml("doctor", "--configfile", config)
        lines = [line for line in done.stdout.splitlines() if line.split()[1:2] == ["base"]]
        assert len(lines) == 1, done.stdout + done.stderr
        return lines[0]

    assert base().startswith("ok    base")
    assert sorted(hub.sent) == ["config.json", "generation_config.json", "model.safetensors"]
    weights = machine.cached("model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:-7])
    line = base()
    assert line.startswith("fail") and "model.safetensors: truncated or damaged safetensors" in line
    assert f"delete {snapshot.parents[2]}, and it is downloaded again" in line
