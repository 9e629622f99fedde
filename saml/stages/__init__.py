"""The stages of the pipeline, one module per command, in pipeline order."""
