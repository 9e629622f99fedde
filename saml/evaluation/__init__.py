"""Word and character error rates, and the bootstrap intervals of their differences."""
