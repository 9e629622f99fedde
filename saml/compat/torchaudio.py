"""torchaudio where its compiled extension cannot be loaded.

PyPI's torchaudio is built for CUDA: beside a CPU-only torch `import torchaudio` raises OSError, because its
extension wants a CUDA library. transformers, lhotse and peft import torchaudio wherever it is installed, so
they fail with it. The Python part (spectrograms, resampling) needs no extension: a module in its place that
says so is enough. This is the only module here that touches `sys.modules`.

Call `ensure()` before the first import of torchaudio, transformers, peft or lhotse's augmentation.
"""

import importlib
import sys
from types import ModuleType

_EXTENSION = "torchaudio._extension"


def ensure() -> bool:
    """Make `import torchaudio` work; true where it is installed.

    Harmless to call again. Where torchaudio loads as it is (a torch built for CUDA), nothing is changed.
    """
    if "torchaudio" in sys.modules:
        return True
    try:
        importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            raise
        return False
    except OSError:
        # The failed import leaves submodules behind, half loaded, which Python would not load again.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules[_EXTENSION] = _without_extension()
        importlib.import_module("torchaudio")
    return True


def has_extension() -> bool:
    """Whether torchaudio was loaded with its own extension."""
    return getattr(sys.modules.get(_EXTENSION), "__file__", None) is not None


def _without_extension() -> ModuleType:
    """What `torchaudio._extension` holds where torchaudio was built without its extension."""
    module = ModuleType(_EXTENSION)
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        _load_lib=lambda name: False,
        fail_if_no_align=lambda function: function,
    )
    return module
