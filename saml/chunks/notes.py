"""What Snakemake notes of each output, by which it sees later that settings or inputs have changed.

Of a job of several speakers it would note the params and inputs of all of them with every file, and so make
everything again when they are divided otherwise. Here each file gets the note that a job for its speaker
alone would have left. Snakemake has no setting for that: the one place where it writes notes is wrapped.
"""

from collections.abc import Iterable
from typing import Any

from saml.chunks.each import MARK
from saml.chunks.plan import Chunk


def note_each_speaker(workflow: Any, chunks: Iterable[Chunk]) -> None:
    """From now on note of every output of `chunks` what a job for its speaker alone would note."""
    persistence = workflow.persistence
    speakers = {
        file: (chunk, folder)
        for chunk in chunks
        for folder in chunk.folders
        for file in chunk.work.filled(chunk.work.outputs, folder)
    }
    write = persistence._write_record

    def write_own(key: str, record: Any) -> None:
        if key in speakers:
            _as_alone(record, *speakers[key], persistence)
        write(key, record)

    persistence._write_record = write_own


def _as_alone(record: Any, chunk: Chunk, folder: str, persistence: Any) -> None:
    from snakemake.jobs import Job

    rule, wildcards = chunk.work.rule, {**chunk.work.wildcards, "speaker": folder}
    assert chunk.work.wildcards["speaker"] == MARK
    job = Job(rule, persistence.dag, wildcards)
    record.rule, record.code = rule.name, persistence._code(rule)
    record.params, record.input = persistence._params(job), persistence._input(job)
    own = set(map(str, job.input))
    record.input_checksums = {file: sum_ for file, sum_ in record.input_checksums.items() if file in own}
