"""Base models that somebody else trained: where they lie, and how each format is read."""
