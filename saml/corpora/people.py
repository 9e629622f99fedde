"""Who speaks, where a corpus has more names than people."""


def person(talk: str) -> str:
    """Who gives a talk of TED-LIUM: `DanBarber_2010` and `DanBarber_2010_S103` are one person's."""
    return talk.partition("_")[0]
