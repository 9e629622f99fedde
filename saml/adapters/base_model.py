"""The model that an adapter was trained on, found by its checksum."""

from pathlib import Path

from saml.models.store import read_description
from saml.runtime import layout
from saml.runtime.cache import cache_folder
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object


def model_of(adapter: Path) -> Path:
    """The weights of the model that an adapter names: of the experiment around it, or in the user's cache.

    Raises SamlError where the adapter has no description, or there is no such model.
    """
    wanted = read_description(adapter.with_suffix(".json")).get("base_sha256")
    cached = sorted(path for path in cache_folder().glob("*") if path.is_dir())
    for folder in [*adapter.resolve().parents, *cached]:
        for found in sorted(folder.glob(f"{layout.pattern(layout.MODEL)}/model.json")):
            if read_json_object(found).get("sha256") == wanted:
                return found.with_suffix(".safetensors")
    raise SamlError(
        f"{adapter}: the model that it was trained on is in none of the folders above it, and not in "
        f"{cache_folder()}; name it with --weights"
    )
