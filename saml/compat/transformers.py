"""transformers, without loading what nothing here uses of it: more than half of a job's imports.

Its networks are ordinary torch modules, but importing the first one loads

- torch.compile's machinery, only to mark functions that it should leave alone,
- torch.distributed's tensors, for models that are spread over machines,
- scipy's optimisers, for a loss in object detection,
- and the package's own beginning, which reads every file of some 400 models twice, to list what is in them.

`ensure()` loads the code that all networks share without these. It changes no code of transformers: it is
told, in its own terms, that torch.distributed and scipy are not there, and meets stand-ins for the others:

- `torch._dynamo` is stood in for during that import only. Whoever imports it later gets the real one.
- `transformers` and `transformers.models` stay packages whose own code runs when somebody asks them for
  anything but a submodule: `from transformers import AutoModel` works, and costs what it costs.

What was imported before is left as it is; where another version of transformers does not get by with this,
it is imported as always. Numbers are the same either way: it is the same code that computes. What is given
up is to torch.compile a network of transformers in the same process with all marks in place.

Call `ensure()` before importing anything from transformers, and import from its submodules, not from
`transformers` itself.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

from saml.compat import torchaudio as _torchaudio
from saml.compat.garbage import none_expected

# All that networks share, and generation.
_SHARED = ("transformers.processing_utils", "transformers.modeling_utils", "transformers.generation.utils")
_COMPILER = "torch._dynamo"


def ensure() -> None:
    """Load what networks of transformers share. Harmless to call again."""
    _torchaudio.ensure()
    if "transformers.modeling_utils" in sys.modules or not packages():
        return
    before = set(sys.modules)
    try:
        _tell_what_is_absent()
        with none_expected(), _compiler_stood_in_for(), _read_once():
            for name in _SHARED:
                importlib.import_module(name)
        _forget_what_was_told()
    except Exception:  # whatever another version may want: it gets all, from the beginning
        for name in set(sys.modules) - before | {"transformers", "transformers.models"}:
            if name.partition(".")[0] == "transformers":
                sys.modules.pop(name, None)


def packages() -> bool:
    """Let submodules of transformers be imported without the code of the packages that they are in.

    False, and nothing is changed, where transformers is not installed or was imported before.
    """
    if "transformers" in sys.modules:
        return isinstance(sys.modules["transformers"], _Package)
    if importlib.util.find_spec("transformers") is None:
        return False
    for name in ("transformers", "transformers.models"):
        sys.modules[name] = _Package(name)
    return True


class _Package(ModuleType):
    """A package to import submodules from. Its own code runs when it is asked for anything else."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations is not None
        self.__spec__, self.__file__, self.__package__ = spec, spec.origin, name
        self.__path__ = list(spec.submodule_search_locations)
        self.__version__ = version(name.partition(".")[0])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and its tools look for in any module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        return getattr(self._itself(), name)

    def _itself(self) -> ModuleType:
        """The package after its own code ran. It takes this one's place; submodules stay as they are."""
        if sys.modules.get(self.__name__) is not self:
            return sys.modules[self.__name__]
        del sys.modules[self.__name__]
        try:
            real = importlib.import_module(self.__name__)
        except BaseException:
            sys.modules[self.__name__] = self
            raise
        for name, value in vars(self).items():
            if isinstance(value, ModuleType):
                vars(real).setdefault(name, value)
        return real


def _questions() -> tuple[Any, Any]:
    """transformers asks its own functions what there is; they remember what they found."""
    own: Any = importlib.import_module("transformers.utils.import_utils")
    return own.is_torch_distributed_available, own.is_scipy_available


def _tell_what_is_absent() -> None:
    distributed, scipy = _questions()
    torch = importlib.import_module("torch")
    there = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    try:
        _ask_again(distributed)
    finally:
        torch.distributed.is_available = there
    if "scipy" not in sys.modules:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # Python's own way to say: not to be found
        try:
            _ask_again(scipy)
        finally:
            del sys.modules["scipy"]


def _forget_what_was_told() -> None:
    """Whoever uses transformers in the same process is told the truth."""
    for question in _questions():
        question.cache_clear()


def _ask_again(question: Any) -> None:
    question.cache_clear()
    question()


@contextmanager
def _read_once() -> Iterator[None]:
    """Let the module that runs the package's own code once more take the package that is there."""
    utilities: Any = importlib.import_module("transformers.utils")
    run = utilities.direct_transformers_import
    utilities.direct_transformers_import = lambda *path: sys.modules["transformers"]
    try:
        yield
    finally:
        utilities.direct_transformers_import = run


@contextmanager
def _compiler_stood_in_for() -> Iterator[None]:
    """Let functions be marked for torch.compile without loading it; the marks are forgotten."""
    if _COMPILER in sys.modules:
        yield
        return
    torch = importlib.import_module("torch")
    spec = importlib.util.find_spec(_COMPILER)
    assert spec is not None and spec.submodule_search_locations is not None
    stand_in = ModuleType(_COMPILER)
    # One submodule is wanted itself, and does without the package.
    stand_in.__path__ = list(spec.submodule_search_locations)
    vars(stand_in).update(
        disable=_disable, allow_in_graph=_as_it_is, assume_constant_result=_as_it_is, __spec__=spec
    )
    sys.modules[_COMPILER] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]
        if vars(torch).get("_dynamo") is stand_in:
            del torch._dynamo


def _as_it_is(function: Any) -> Any:
    return function


def _disable(function: Callable | None = None, recursive: bool = True, **options: Any) -> Any:
    """As torch._dynamo.disable: a function, or what is called with one."""
    return _as_it_is if function is None else function
