"""The commands of the program `saml`: one module a group, each of which adds its commands and their flags.

The functions that the commands call live in their own rooms and are imported only when a command runs.
"""
