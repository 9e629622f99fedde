"""A base model as the training engine sees it: all parameters are trained, there are no adapters."""

from saml.models.recogniser import Recogniser, as_module
from saml.models.store import full_state
from saml.training.task import State


class WholeModel:
    """All parameters of a recogniser."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._module = as_module(recogniser)

    def train(self) -> None:
        """Training mode: dropout, and batch normalisation by batch."""
        self._module.train()

    def eval(self) -> None:
        """Evaluation mode."""
        self._module.eval()

    def full_state(self) -> State:
        """Everything that is stored of the model."""
        return full_state(self._recogniser)

    def load_full_state(self, state: State) -> None:
        """Restore what `full_state` returned."""
        # Not strict: tied and computed tensors are left out of the state.
        self._module.load_state_dict(dict(state), strict=False)
