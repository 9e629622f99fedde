"""Names of the talks of TED-LIUM."""


def person(talk: str) -> str:
    """The person who gives a talk: `DanBarber_2010` and `DanBarber_2010_S103` are by the same person."""
    return talk.partition("_")[0]
