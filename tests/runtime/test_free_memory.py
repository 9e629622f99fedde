"""Free memory goes back to the system."""

import weakref

from saml.runtime.memory import release


class Model:
    """Refers to itself, as a network with hooks does."""

    def __init__(self) -> None:
        self.hook = self.__str__


def test_what_refers_to_itself_is_freed() -> None:
    model = Model()
    seen = weakref.ref(model)
    del model
    release()
    assert seen() is None
