"""From text to token ids and back, for every kind of vocabulary."""
