"""Mixtures of LoRA experts with routers, in any recogniser."""

from saml.adapters.adapted import AdaptedRecogniser
from saml.adapters.layer import MixtureLinear, Route
from saml.adapters.router import Router
from saml.adapters.rows import Rows
from saml.adapters.sites import find_sites
from saml.adapters.spec import AdapterSpec

__all__ = [
    "AdaptedRecogniser",
    "AdapterSpec",
    "MixtureLinear",
    "Route",
    "Router",
    "Rows",
    "find_sites",
]
