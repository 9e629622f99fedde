"""Manifests on disk."""

import gzip
import json
from pathlib import Path

from lhotse import SupervisionSegment, SupervisionSet

from saml.corpora.manifests import read_manifest, write_manifest


def test_the_bytes_of_a_manifest_do_not_depend_on_the_time(tmp_path: Path) -> None:
    segment = SupervisionSegment("u1", "r1", 0.0, 1.5, text="naïve", speaker="anna")
    path = tmp_path / "supervisions.jsonl.gz"
    write_manifest(SupervisionSet.from_items([segment]), path)
    content = path.read_bytes()
    assert content[4:8] == bytes(4)  # the time in a gzip header (RFC 1952)
    assert json.loads(gzip.decompress(content)) == segment.to_dict()
    assert list(read_manifest(SupervisionSet, path)) == [segment]
