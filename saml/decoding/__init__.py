"""Decoding: batched beam search, optionally joint with CTC."""
