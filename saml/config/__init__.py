"""The configuration: loading, validation, and what a stage gets of it."""
