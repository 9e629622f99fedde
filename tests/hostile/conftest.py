"""The number of examples that Hypothesis tries for each property."""

import os

from hypothesis import settings

# The same examples in every run, without time limits, because the machine may be busy.
settings.register_profile(
    "saml",
    derandomize=True,
    deadline=None,
    max_examples=int(os.environ.get("SAML_EXAMPLES", "100")),
    database=None,
)
settings.load_profile("saml")
