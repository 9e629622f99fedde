"""Adaptation of a given model to a user's own recordings."""
