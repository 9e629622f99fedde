"""Jobs that die with whoever started them.

A Snakemake that is killed leaves its jobs running; started again it would start them anew, and two processes
would write the same files. So the workflow tells each job, in the environment, which process it works for
(`saml` started by hand is told nothing), and a job whose master is gone ends itself, at once, wherever it is:
what is written here is whole or absent (`saml.runtime.files`), and checkpoints go on from before.
"""

import os
import select
import signal
import threading
import time

VARIABLE = "SAML_PARENT"


def die_with_parent() -> None:
    """Watch the process named in the environment, if one is, and kill this one as soon as it has ended."""
    text = os.environ.pop(VARIABLE, "")  # not for what this process starts
    if text.isdecimal():
        threading.Thread(target=_watch, args=(int(text),), name="parent", daemon=True).start()


def _watch(pid: int) -> None:
    _wait_for_end(pid)
    # Not SystemExit: no handler, no clean-up, nothing that writes.
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_end(pid: int) -> None:
    """Return when the process `pid` has ended; at once when there is none.

    A parent alone would be told apart by its death signal, but shells stand between Snakemake and its jobs.
    """
    try:
        handle = os.pidfd_open(pid)  # Linux from 5.3; one that is asleep costs nothing
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while _is_alive(pid):
            time.sleep(0.5)
        return
    select.select([handle], [], [])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
