"""Word and character error rates, and bootstrap intervals of their differences."""
