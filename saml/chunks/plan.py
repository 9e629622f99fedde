"""Which speakers go together in which jobs, and the rules of those jobs.

Chunks hold the speakers whose files are not there yet. A speaker whose files are there belongs to the rule
for one speaker, which alone knows whether they are out of date: so a change of the chunk size, or one more
speaker, runs nothing again, and a finished speaker can be run again alone. The division therefore depends on
what is there when Snakemake starts. Jobs, which read the workflow again, take it from a file.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from saml.chunks.each import MARK, fill
from saml.chunks.kept import is_kept
from saml.chunks.lookup import look_up_by_name
from saml.runtime.errors import SamlError
from saml.runtime.files import read_json_object, write_atomically

# A limit of time is far above what one speaker takes: so many share one.
SPEAKERS_PER_LIMIT = 4
# The rules whose speakers can be in the same batches, and MB that each speaker has there of its own. Ten
# experts and their routers for Whisper's base model are 3.2 million numbers, 13 MB a fold; in training with
# gradients, moments and best state 65 MB. A job tried again asks for more.
MB_IN_A_CROWD = {"adapt": 200, "decode": 65, "decode_unadapted": 0}


@dataclass(frozen=True)
class Unit:
    """A rule of Snakemake's for one speaker, and its wildcards but the speaker."""

    rule: str
    wildcards: Mapping[str, str]

    @property
    def name(self) -> str:
        """The rule and its wildcards, as a person reads them."""
        return "/".join([self.rule, *self.wildcards.values()])


class Work:
    """What a unit's job does for one speaker, `MARK` in place of the speaker: taken from its rule."""

    def __init__(self, workflow: Any, unit: Unit, results: Path) -> None:
        from snakemake.utils import format as fill_in

        self.unit = unit
        self.rule = workflow.get_rule(unit.rule)
        self.wildcards = {**unit.wildcards, "speaker": MARK}
        self.inputs, *_ = self.rule.expand_input(self.wildcards)
        self.outputs, _ = self.rule.expand_output(self.wildcards)
        self.keep = f"{results}/.work/each/{unit.name}/{MARK}"
        params, _ = self.rule.expand_params(self.wildcards, self.inputs, self.outputs, None)
        resources = self.rule.expand_resources(self.wildcards, self.inputs, 1)
        command = fill_in(
            self.rule.shellcmd,
            wildcards=SimpleNamespace(**self.wildcards),
            input=self.inputs,
            output=self.outputs,
            params=params,
            resources=resources,
            log=">",  # where the command ends
        )
        words = shlex.split(command)
        self.arguments = words[1 : words.index(">")]

    def resource(self, name: str, attempt: int) -> Any:
        """A resource that the rule asks for."""
        return self.rule.expand_resources(self.wildcards, self.inputs, attempt)[name]

    def is_finished(self, folder: str) -> bool:
        """Whether a speaker's files are all there, and no job that has not ended made them."""
        return all(map(Path.exists, map(Path, self.filled(self.outputs, folder)))) and not is_kept(
            Path(fill(self.keep, folder))
        )

    @staticmethod
    def filled(files: Iterable[str], folder: str) -> list[str]:
        """The files of one speaker."""
        return [str(file).replace(MARK, folder) for file in files]


@dataclass(frozen=True)
class Chunk:
    """A job of several speakers: what its rule needs. `together` is in the same batches."""

    work: Work
    number: int
    folders: tuple[str, ...]
    together: bool = False

    @property
    def name(self) -> str:
        """A name for the rule: hyphens of an arm become underscores, other marks their code."""
        words = [*self.work.unit.wildcards.values(), f"chunk{self.number}"]
        return "_".join([self.work.unit.rule, *("".join(map(_in_name, word)) for word in words)])

    def inputs(self, wildcards: Any) -> list[str]:
        """For input: what all of its speakers need, each file once. Only this chunk's job makes the list."""
        files = (file for folder in self.folders for file in Work.filled(self.work.inputs, folder))
        return list(dict.fromkeys(files))

    @property
    def outputs(self) -> list[Any]:
        """What it writes, folders marked as such."""
        from snakemake.io import directory, is_flagged

        return [
            directory(name) if is_flagged(file, "directory") else name
            for folder in self.folders
            for file, name in zip(self.work.outputs, Work.filled(self.work.outputs, folder), strict=True)
        ]

    def file(self, kind: str, ending: str) -> str:
        """Where its log, or its benchmark, goes.

        By its first speaker: a run that goes on after an interruption numbers what is left from 1 again, and
        would write over the files of jobs that had ended before.
        """
        results = self.work.keep.partition("/.work/")[0]
        return f"{results}/{kind}/each/{self.work.unit.name}/from_{self.folders[0]}.{ending}"

    @property
    def message(self) -> str:
        """What Snakemake says when it starts."""
        first, last = self.folders[0], self.folders[-1]
        how = " together" if self.together else ""
        said = f"{self.work.unit.name} for {len(self.folders)} speakers{how}, {first} to {last}"
        return said.replace("{", "{{")

    def options(self, wildcards: Any) -> list[str]:
        """For params: the command and its flags; those of `saml each` and `saml crowd` are the same."""
        outputs = [str(file) for file in self.work.outputs]
        return [
            "crowd" if self.together else "each",
            "--speakers",
            *self.folders,
            "--keep",
            self.work.keep,
            "--outputs",
            *outputs,
            "--",
            *self.work.arguments,
        ]

    def mem_mb(self, wildcards: Any, attempt: int) -> int:
        """For resources: one speaker's, as they come one after another; and what each has in a crowd."""
        each = MB_IN_A_CROWD[self.work.unit.rule] if self.together else 0
        more = each * len(self.folders) * attempt
        return int(self.work.resource("mem_mb", attempt)) + more

    def runtime(self, wildcards: Any, attempt: int) -> int:
        """For resources: minutes."""
        return int(self.work.resource("runtime", attempt)) * -(-len(self.folders) // SPEAKERS_PER_LIMIT)

    def gpu(self, wildcards: Any) -> int:
        """For resources."""
        return int(self.work.rule.resources["gpu"].value) if "gpu" in self.work.rule.resources else 0


class Chunks:
    """The jobs of several speakers of a workflow."""

    def __init__(
        self,
        workflow: Any,
        units: Sequence[Unit],
        *,
        folders: Sequence[str],
        size: int,
        results: Path,
        together: bool = False,
    ) -> None:
        self._workflow = workflow
        self._path = results / ".work/chunks.json"
        self._chunks: list[Chunk] = []
        if size > 1:
            works = {unit.name: Work(workflow, unit, results) for unit in units}
            divided = self._divide(works, folders, size) if workflow.is_main_process else self._read()
            self._chunks = [
                Chunk(
                    works[name], number, tuple(members), together and works[name].unit.rule in MB_IN_A_CROWD
                )
                for name, chunks in divided.items()
                for number, members in enumerate(chunks, start=1)
            ]

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks)

    def look_up(self) -> None:
        """Once there are rules: what chunks make is theirs alone, and found by its name."""
        if self._chunks:
            look_up_by_name(self._workflow.get_rule(chunk.name) for chunk in self._chunks)

    def start(self) -> None:
        """Before the first job: leave the division for jobs, and say what is to be noted of their files."""
        if not self._chunks:
            return
        from saml.chunks.notes import note_each_speaker

        divided: dict[str, list[Sequence[str]]] = {}
        for chunk in self._chunks:
            divided.setdefault(chunk.work.unit.name, []).append(chunk.folders)
        write_atomically(self._path, json.dumps(divided).encode())
        note_each_speaker(self._workflow, self._chunks)

    def _divide(
        self, works: Mapping[str, Work], folders: Sequence[str], size: int
    ) -> dict[str, list[list[str]]]:
        """Of each unit the speakers that are not finished, in their order, `size` at a time."""
        divided = {}
        for name, work in works.items():
            left = [folder for folder in folders if not work.is_finished(folder)]
            divided[name] = [left[first : first + size] for first in range(0, len(left), size)]
        return divided

    def _read(self) -> dict[str, list[list[str]]]:
        try:
            return read_json_object(self._path)
        except SamlError as error:
            raise SamlError(
                f"{error}; a job of several speakers needs it: start Snakemake without --no-hooks"
            ) from None


def _in_name(character: str) -> str:
    if character.isalnum():
        return character
    return "_" if character == "-" else f"_{ord(character):x}_"
