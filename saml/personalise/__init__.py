"""Adapting a model to somebody's own recordings."""
