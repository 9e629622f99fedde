"""What a stage is for the command line and the workflow: its function and its flags."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """A flag that is not a path.

    `source` is where a rule has its value: "wildcards" or "params". With `many`, several values may follow
    the flag; one that is `optional` may be left out, or stand without a value.
    """

    name: str
    source: str
    kind: Callable[[str], Any] = str
    help: str = ""
    many: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Stage:
    """A command that runs one function of the package, with a run record as its last output.

    `sections` are the config sections in --settings; "partition.enrolment" is that key alone. `inputs`,
    `optional` inputs and `outputs` are path flags. `folders` are folders of the experiment that have flags.

    A stage that is `per_speaker` takes --speakers, and `{speaker}` in paths. Its function is called for one
    speaker after another, or, with `batch`, once: the keyword argument for all speakers, and the class (as
    "module:name") that holds what is each speaker's own.

    One that `trains` takes --work and --checkpoint-seconds. One that is `tunable` trains an adapter and can
    run as a trial of a learning rate. One that `downloads` may ask the Hugging Face hub; the others
    stay offline. `notes` are the names for the run record that the function takes.
    """

    name: str
    function: str
    summary: str
    sections: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    per_speaker: bool = False
    batch: tuple[str, str] | None = None
    trains: bool = False
    tunable: bool = False
    downloads: bool = False
    notes: tuple[str, ...] = ("corpus",)

    def rule_flags(self) -> Iterator[tuple[str, str]]:
        """Each flag whose value depends on the job, with the place of its value in a rule: "input.cuts"."""
        for value in self.values:
            yield value.name, f"{value.source}.{value.name.replace('-', '_')}"
        if self.per_speaker:
            yield "speakers", "params.speakers"
        for name in (*self.inputs, *self.optional):
            yield name, f"input.{name.replace('-', '_')}"
        for name in self.outputs:
            yield name, f"output.{name.replace('-', '_')}"
        if self.trains:
            yield "work", "params.work"
        if self.sections:
            yield "settings", "params.settings"
