"""Mixtures of LoRA experts with routers, in any recogniser."""

from saml.adapters.adapted import AdaptedRecogniser, AdapterSpec, adapter_spec, find_sites
from saml.adapters.layer import MixtureLinear, Route
from saml.adapters.router import Router

__all__ = [
    "AdaptedRecogniser",
    "AdapterSpec",
    "MixtureLinear",
    "Route",
    "Router",
    "adapter_spec",
    "find_sites",
]
