"""Speech in, lhotse manifests out: one module per corpus, found by its name in `registry`."""
