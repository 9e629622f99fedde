"""Files, errors, progress and processes: independent of all other packages."""
