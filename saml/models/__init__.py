"""Recognisers, their tokenisers, and how they are stored, quantised and imported."""
