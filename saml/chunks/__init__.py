"""Several target speakers in one job: the config's `speakers_per_job`.

A cluster's cost is in small jobs. `plan` makes, of a rule for one speaker, rules for several; `each` is the
command that such a job runs; `kept` holds what it has finished until all of it is. A speaker's files, their
bytes and what Snakemake notes of them are the same as from a job of their own: the setting can always change.
With `speakers_together` adaptations and decoding are left to `saml crowd`: the same files and notes, within
tolerances.
"""
