"""Labels in the style of the model: its capitals and punctuation, with the words of the transcript.

Whisper writes "Twenty men, I think."; most transcripts say "twenty men i think". Trained on those it stops
writing capitals and marks within a few steps. A label therefore takes, for each word that the model
recognises, the form that the model gives it, and every other word from the transcript.
"""

import jiwer

# What ends a sentence.
_MARKS = (".", "?", "!", "…")


def in_models_style(transcript: str, hypothesis: str) -> str:
    """The words of `transcript` in the form that they have in `hypothesis`, the model's own output.

    Words are aligned by Levenshtein distance, without case and punctuation. A word that the model does not
    recognise stays as it is in the transcript, in lower case. The first letter is a capital, and a mark ends
    the label.
    """
    words, forms = transcript.lower().split(), hypothesis.split()
    bare_words, bare_forms = [_bare(word) for word in words], [_bare(form) for form in forms]
    # jiwer takes texts of words: a form without letters, such as a dash, is a word that matches nothing.
    found = jiwer.process_words(
        " ".join(word or "-" for word in bare_words), " ".join(form or "--" for form in bare_forms) or "--"
    )
    for chunk in found.alignments[0]:
        if chunk.type == "equal":
            words[chunk.ref_start_idx : chunk.ref_end_idx] = forms[chunk.hyp_start_idx : chunk.hyp_end_idx]
    label = " ".join(words)
    label = label[:1].upper() + label[1:]
    return label if label.endswith(_MARKS) else f"{label.rstrip(',;:-')}."


def is_formatted(text: str) -> bool:
    """Whether a text starts with a capital or a digit and ends with a mark."""
    return bool(text) and (text[0].isupper() or text[0].isdigit()) and text.endswith(_MARKS)


def _bare(word: str) -> str:
    """A word without case and punctuation; apostrophes are letters of it."""
    return "".join(letter for letter in word.lower() if letter.isalnum() or letter == "'").strip("'")
