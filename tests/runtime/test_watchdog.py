"""The watchdog in a process of its own; tests/faults/test_orphans.py has it below Snakemake."""

import os
import subprocess
import sys

CODE = """
import os
from saml.runtime.watchdog import VARIABLE, die_with_parent
die_with_parent()
print(os.environ.get(VARIABLE))
"""


def test_child_processes_do_not_inherit_the_variable() -> None:
    environment = {**os.environ, "SAML_PARENT": str(os.getpid())}
    ran = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert ran.stdout == "None\n" and ran.returncode == 0, ran.stderr
