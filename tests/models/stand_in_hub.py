"""A stand-in for the Hugging Face hub on this machine, and `saml` commands that ask it.

It answers what huggingface_hub asks a hub: a model's description, the list of its files, and the files with
ETag, commit and ranges.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "a" * 40


class Hub:
    """The models that it has, by name, with the folder of each; and what it was asked.

    `cuts` says of a file after how many bytes its transfer breaks off, and how often. Models in `gated` are
    refused.
    """

    def __init__(self) -> None:
        self.models: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.cuts: dict[str, tuple[int, int]] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.address = ""

    @property
    def sent(self) -> list[str]:
        """The names of the files whose bytes were asked for, each time."""
        paths = [path for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]
        return [path.split(f"/resolve/{COMMIT}/")[-1].split("/resolve/main/")[-1] for path in paths]

    def forget(self) -> None:
        self.asked.clear()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers on a port of its own until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        described = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?()", path)
        listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)()", path)
        resolved = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = listed or described or resolved
        name, revision, file_name = found.groups() if found else ("", None, "")
        if name in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        if name not in self.hub.models:
            return self._refuse(404, "RepoNotFound")
        if revision not in (None, "main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        folder = self.hub.models[name]
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        if listed:
            return self._json([self._listed(folder, one) for one in names])
        if described:
            return self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": one} for one in names]})
        file = folder / file_name
        if not file.is_file():
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": COMMIT})
        return self._send(file)

    def _listed(self, folder: Path, name: str) -> dict[str, Any]:
        size = (folder / name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(name.encode()).hexdigest()}

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, file: Path) -> None:
        data = file.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if first is None:
            return self._answer(200, data, headers, file.name)
        headers["Content-Range"] = f"bytes {first[1]}-{len(data) - 1}/{len(data)}"
        return self._answer(206, data[int(first[1]) :], headers, file.name)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        size, times = self.hub.cuts.get(name, (0, 0))
        if times:
            self.hub.cuts[name] = (size, times - 1)
            body, self.close_connection = body[:size], True
        self.wfile.write(body)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, b"", {**(headers or {}), "X-Error-Code": code})


class Machine:
    """A machine with a cache of its own that knows one hub; its commands run in processes of their own."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.hub, self.home = hub, home

    def saml(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "saml.cli.main", *map(str, arguments), **variables)

    def refusal(self, model: dict[str, Any]) -> str:
        """What is said of a checkpoint before anything of it is read, which takes a second and no torch."""
        code = f"""
import sys
from saml.models.checkpoints.source import checkpoint_path
from saml.runtime.errors import SamlError
try: checkpoint_path({model!r})
except SamlError as error: sys.exit(str(error))
"""
        done = self.python("-c", code)
        assert done.returncode == 1, done
        return done.stderr

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not re.match("HF_|TRANSFORMERS_", name)}
        own = {"HF_ENDPOINT": self.hub.address, "HF_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, *arguments],
            env={**kept, **own, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def import_base(
        self, model: dict[str, Any], out: Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        outputs = {"out-weights": "model.safetensors", "out-description": "model.json", "record": "run.jsonl"}
        flags = [f"--{flag}={out / name}" for flag, name in outputs.items()]
        settings = f"--settings={json.dumps({'model': model})}"
        return self.saml("import-base", "--experiment=test", settings, *flags, **variables)

    def cached(self, name: str) -> Path:
        """Where a file of the model me/tiny lies in the cache."""
        return self.home / "hub/models--me--tiny/snapshots" / COMMIT / name

    def drop(self, name: str) -> None:
        """Take a file out of the cache, and what it points to."""
        path = self.cached(name)
        path.resolve().unlink()
        path.unlink()
