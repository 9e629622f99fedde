"""Downloads from a local server in place of openslr.org."""

import functools
import http.server
import io
import tarfile
import threading

import pytest

from saml.cli.main import main
from saml.corpora import download, librispeech
from saml.runtime.errors import SamlError


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder from any byte on; records the requests."""

    asked: list[tuple[str, int]] = []

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append((self.path, start))
        try:
            with open(self.translate_path(self.path), "rb") as file:
                content = file.read()
        except OSError:
            self.send_error(404)
            return
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *arguments):
        """No log: the test checks the requests."""


@pytest.fixture
def server(tmp_path):
    """The address of a server that has one part of LibriSpeech with one file."""
    folder = tmp_path / "server/12"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "dev-clean.tar.gz", "w:gz") as archive:
        text = b"84-121123-0000 GO\n"
        entry = tarfile.TarInfo("LibriSpeech/dev-clean/84/121123/84-121123.trans.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    Server.asked = []
    handler = functools.partial(Server, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_part_is_downloaded_and_unpacked_once(tmp_path, server, capsys):
    root = tmp_path / "here"
    download.download_librispeech(root, ["dev-clean"], base_url=server)
    assert librispeech.speakers(root / "LibriSpeech", "dev-clean") == ["84"]
    assert f"export SAML_LIBRISPEECH_ROOT={root}" in capsys.readouterr().out
    download.download_librispeech(root / "LibriSpeech", ["dev-clean"], base_url=server)
    assert Server.asked == [("/12/dev-clean.tar.gz", 0)]


def test_an_interrupted_download_continues(tmp_path, server):
    whole = (tmp_path / "server/12/dev-clean.tar.gz").read_bytes()
    root = tmp_path / "here"
    root.mkdir()
    (root / "dev-clean.tar.gz").write_bytes(whole[:100])
    download.download_librispeech(root, ["dev-clean"], base_url=server)
    assert Server.asked == [("/12/dev-clean.tar.gz", 100)]
    assert (root / "dev-clean.tar.gz").read_bytes() == whole
    assert librispeech.speakers(root / "LibriSpeech", "dev-clean") == ["84"]


def test_failures_are_one_line_errors(tmp_path, server):
    root = tmp_path / "here"
    with pytest.raises(SamlError, match="no part 'dev-cleen'; choose from dev-clean, "):
        download.download_librispeech(root, ["dev-cleen"], base_url=server)
    with pytest.raises(SamlError, match=r"12/test-clean.tar.gz returns 404"):
        download.download_librispeech(root, ["test-clean"], base_url=server)
    with pytest.raises(SamlError, match="interrupted .* the same command continues"):
        download.download_librispeech(tmp_path / "there", ["test-clean"], base_url="http://127.0.0.1:9")
    size = (tmp_path / "server/12/dev-clean.tar.gz").stat().st_size
    (root / "dev-clean.tar.gz").write_bytes(b"x" * size)  # as long as the server's, but not an archive
    with pytest.raises(SamlError, match=r"here/dev-clean.tar.gz cannot be unpacked; delete it"):
        download.download_librispeech(root, ["dev-clean"], base_url=server)


def test_too_little_disk_space_is_an_error_before_any_download(tmp_path, server, monkeypatch):
    class Usage:
        free = 1e9

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(SamlError, match=r"has 1.0 GB free, and .* need 46.2 GB"):
        download.download_librispeech(tmp_path, ["train-clean-360"], base_url=server)
    with pytest.raises(SamlError, match=r"need 108.0 GB"):
        download.download_tedlium3(tmp_path)
    assert Server.asked == []


@pytest.mark.parametrize("name", ["tedlium", "tedlium3"])
def test_the_command(tmp_path, monkeypatch, name):
    got = []
    monkeypatch.setattr(download, "download_tedlium3", lambda root: got.append(root))
    monkeypatch.setattr(download, "download_librispeech", lambda root, parts: got.append((root, parts)))
    assert main(["download", name, "--root", str(tmp_path)]) == 0
    assert main(["download", "librispeech", "--root", str(tmp_path), "--parts", "dev-clean"]) == 0
    assert got == [tmp_path, (tmp_path, ["dev-clean"])]
