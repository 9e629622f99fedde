"""Text to token ids and back: characters, subwords and Whisper's own tokens.

Beside a model's weights lies its tokeniser, `tokenizer.json`: for Whisper's tokens the format of the
`tokenizers` library, which transformers reads and writes too; for the others a small JSON of our own.
`model.json` has the rest, and the checksum of that file.
"""
