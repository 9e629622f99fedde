"""What something is that was given for a checkpoint and is none, and what to do about it.

Files are known by their first bytes, folders and models on the hub by the names of their files.
"""

import re
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from saml.models.checkpoints.files import CONFIG, Find
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object

_ORIGINAL = (
    "name the transformers model that it was made from: its folder, or hf://<owner>/<name> (such as "
    "hf://openai/whisper-tiny.en)"
)
_AGAIN = "convert it with transformers (save_pretrained), or name a checkpoint that has PyTorch weights"


@dataclass(frozen=True)
class Foreign:
    """Something that is no checkpoint: what it is, with its article, and the remedy."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"is {self.what}; {self.remedy}"


_GGML = Foreign("a model of whisper.cpp (GGML)", _ORIGINAL)
_GGUF = Foreign("a model in GGUF format", _ORIGINAL)
_AUDIO = Foreign("an audio file", "name a model here; recordings are named in corpus.folder.root")
_PAGE = Foreign(
    "a web page that was saved in place of the file",
    "download the file itself: `hf download <owner>/<name>`, or an address with /resolve/ and not /blob/",
)
_POINTER = Foreign(
    "a Git LFS pointer, not the file itself", "run `git lfs pull` in its folder, or name hf://<owner>/<name>"
)
_KERAS = Foreign("a TensorFlow model", _AGAIN)
_PACKED = Foreign("a compressed archive", "unpack it, and name the folder inside that has config.json")
_EMPTY = Foreign("an empty file", "copy or download it again")
_ONNX = Foreign("an ONNX model", _ORIGINAL)
_FLAX = Foreign("a Flax model", _AGAIN)

_MAGIC: tuple[tuple[bytes, Foreign], ...] = (
    (b"lmgg", _GGML),
    (b"GGUF", _GGUF),
    (b"version https://git-lfs", _POINTER),
    (b"RIFF", _AUDIO),
    (b"fLaC", _AUDIO),
    (b"OggS", _AUDIO),
    (b"ID3", _AUDIO),
    *((b"\xff" + second, _AUDIO) for second in (b"\xfb", b"\xf3", b"\xf2")),  # MP3 without a title
    (b"\x89HDF", _KERAS),
    (b"\x1f\x8b", _PACKED),
    (b"\xfd7zXZ", _PACKED),
    (b"7z\xbc\xaf", _PACKED),
)
_SUFFIXES = {".onnx": _ONNX, ".msgpack": _FLAX, ".tflite": _KERAS, ".h5": _KERAS}
ADAPTER = "adapter_config.json"  # of PEFT
_ZIP = b"PK\x03\x04"


def foreign_file(path: Path) -> Foreign | None:
    """What a file is that can be no part of a checkpoint, by its first bytes; None where it may be one."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return _EMPTY
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if head.startswith(_ZIP) and not _is_torch(path):
        return _PACKED
    if head[4:8] == b"ftyp":  # M4A, MP4
        return _AUDIO
    if head[257:262] == b"ustar":
        return _PACKED
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), _SUFFIXES.get(path.suffix))


def lone_file(path: Path) -> Foreign | None:
    """What a file is that was named as a checkpoint; None where it may be one of OpenAI's."""
    if (kind := foreign_file(path)) is not None:
        return kind
    with path.open("rb") as file:
        head = file.read(9)
    folder = path.absolute().parent
    # A `.pt` beside a config.json can still be OpenAI's; its reader says what is wrong if it is not.
    if path.suffix != ".pt" and (folder / CONFIG).is_file():
        return Foreign("one file of a checkpoint", f"name its folder, {folder}")
    if head[8:] == b"{":
        return Foreign("weights alone", f"name a folder that has them and their {CONFIG}")
    if head.startswith((_ZIP, b"\x80")):
        return None
    return Foreign(
        "no checkpoint", "name a folder that transformers' save_pretrained wrote, or a .pt of OpenAI's"
    )


def foreign_folder(folder: Path) -> Foreign | None:
    """What a folder is that lacks files of a checkpoint; None where that is not known."""
    names = list(_names(folder))
    if not names:
        return Foreign("an empty folder", "put the model there, or name another")
    if "snapshots" in {name.partition("/")[0] for name in names}:
        return _of_cache(folder)
    for name in names:
        if Path(name).suffix in (".bin", ".gguf") and (kind := foreign_file(folder / name)) is not None:
            return Foreign(f"{kind.what} ({name})", kind.remedy)
    return foreign_names(names, lambda name: folder / name)


def foreign_names(names: Collection[str], find: Find) -> Foreign | None:
    """What a model is whose files have these names; None where that is not known.

    `find` gives a small file of it.
    """
    if ADAPTER in names:
        return _peft(find)
    for pattern, kind in _PATTERNS:
        found = sorted(name for name in names if re.search(pattern, name))
        if found:
            return kind(found[0])
    return None


def _names(folder: Path) -> Iterator[str]:
    """The files in a folder and in the folders directly below it."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from (f"{path.name}/{below.name}" for below in sorted(path.iterdir()))
        else:
            yield path.name


def _of_cache(folder: Path) -> Foreign:
    """A model's folder in the hub's cache: the checkpoint lies some folders below."""
    name = folder.name.removeprefix("models--").replace("--", "/")
    return Foreign("a folder of the Hugging Face cache", f"name hf://{name}")


def _peft(find: Find) -> Foreign:
    config = find(ADAPTER)
    try:
        base = read_json_object(config).get("base_model_name_or_path") if config is not None else None
    except SamlError:
        base = None
    of, give = (f" of {base}", f"name that base model, {base}") if base else ("", "name its base model")
    return Foreign(
        f"a PEFT adapter{of}, not a whole model",
        f"merge it into its base (merge_and_unload, then save_pretrained) and name that folder, or {give}",
    )


def _is_torch(path: Path) -> bool:
    """Whether a file that starts as a zip archive is one of torch's; where its end is missing it may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return True


def _constant(kind: Foreign) -> Callable[[str], Foreign]:
    return lambda name: Foreign(f"{kind.what} ({name})", kind.remedy)


_PATTERNS: tuple[tuple[str, Callable[[str], Foreign]], ...] = (
    (
        r"^checkpoint-\d+/",
        lambda name: Foreign(
            "a folder of training runs", f"name one of the folders in it, such as {name.partition('/')[0]}"
        ),
    ),
    (r"^ggml.*\.bin$", _constant(_GGML)),
    (r"\.gguf$", _constant(_GGUF)),
    (r"\.onnx$", _constant(_ONNX)),
    (r"(^|/)(tf_model.*\.h5|saved_model\.pb|.*\.tflite)$", _constant(_KERAS)),
    (r"^flax_model.*\.msgpack$", _constant(_FLAX)),
    (
        r"^(model|pytorch_model)\..*\.(safetensors|bin)$",
        lambda name: Foreign(
            f"a checkpoint whose weights have another name ({name})",
            "load it in transformers (with its `variant`), save_pretrained it, and name that folder",
        ),
    ),
    (
        r"^model\.json$",
        lambda name: Foreign("a model that saml wrote", "name the checkpoint that it was imported from"),
    ),
    (r"^[^/]*\.pt$", lambda name: Foreign(f"the folder of {name}", "name that file, if it is OpenAI's")),
)
