"""Jobs that end when the workflow that started them has ended.

A killed Snakemake leaves its jobs running. Started again, it would start them a second time, and two
processes would write the same files. So the workflow passes its process id to each job in the environment,
and a job ends itself as soon as that process has ended. Commands that are started by hand lack the variable
and are not affected. Ending is safe at any time: files are written atomically (`saml.runtime.files`), and
training continues from its checkpoint.
"""

import os
import select
import signal
import threading
import time

VARIABLE = "SAML_PARENT"


def die_with_parent() -> None:
    """Kill this process as soon as the process that the environment variable names, if any, has ended."""
    text = os.environ.pop(VARIABLE, "")  # removed, so that child processes do not inherit it
    if text.isdecimal():
        threading.Thread(target=_watch, args=(int(text),), name="parent", daemon=True).start()


def _watch(pid: int) -> None:
    _wait_for_end(pid)
    # Not SystemExit, which would run handlers that may write files.
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_end(pid: int) -> None:
    """Return when the process `pid` has ended; at once when there is none.

    A parent-death signal would not do, because there are shells between Snakemake and its jobs.
    """
    try:
        handle = os.pidfd_open(pid)  # Linux 5.3 or later; waits without polling
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
