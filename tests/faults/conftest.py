"""A small corpus with models and adapters, to damage copies of."""

from tests.training.conftest import made

__all__ = ["made"]
