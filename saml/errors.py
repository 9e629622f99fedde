"""The one exception that a user is meant to read."""


class SamlError(Exception):
    """Something the user can put right: the message names the file, key or utterance, and what to do.

    The command line prints the message as a single line and exits with status 1; anything else that is
    raised is a defect of the program and keeps its traceback.
    """
