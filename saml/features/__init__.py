"""Waveforms to log-mel features, stored once, and read in batches of similar length."""
