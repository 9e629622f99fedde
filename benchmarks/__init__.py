"""Ours beside what a user would pick instead, timed in one run: see README.md."""
