"""Checks of an installation and a configuration before a long run."""
