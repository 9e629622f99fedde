"""Corpora: from speech on disk to lhotse manifests, roles and splits."""
