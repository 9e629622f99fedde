"""What every other package builds on: errors, atomic files, progress, devices, result paths."""
