"""Reporting never loads torch: its commands start fast and run where no torch is installed."""

import json
import pkgutil
import subprocess
import sys

from saml import reporting


def test_no_module_of_reporting_imports_torch() -> None:
    names = [f"{reporting.__name__}.{module.name}" for module in pkgutil.iter_modules(reporting.__path__)]
    assert "saml.reporting.embeddings" in names
    code = (
        f"import importlib, json, sys\nfor name in {names}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert set(names) < loaded
    assert not {"torch", "torchaudio", "transformers", "mlflow"} & loaded
