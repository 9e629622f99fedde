"""A small corpus with models and adapters."""

from tests.training.conftest import made

__all__ = ["made"]
