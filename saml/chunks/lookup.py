"""Which rule makes a file: looked up by name where several speakers' jobs make it.

A job of several speakers names each of its files. Snakemake would put every one of these names among the
patterns that it tries on every file. They go into a dictionary instead, and the rules for one speaker, whose
patterns fit too, are not asked about them.
"""

from collections.abc import Iterable
from typing import Any


def look_up_by_name(rules: Iterable[Any]) -> None:
    """Let Snakemake look the outputs of these rules up. There is no setting for it: the index is another."""
    from snakemake import dag
    from snakemake.output_index import OutputIndex

    makers = {str(file): rule for rule in rules for file in rule.output}

    class Index(OutputIndex):
        def __init__(self, rules: Iterable[Any]) -> None:
            everything = set(rules)
            self._makers = {file: rule for file, rule in makers.items() if rule in everything}
            super().__init__(list(everything.difference(self._makers.values())))

        def match(self, targetfile: str) -> set[Any]:
            maker = self._makers.get(targetfile)
            return super().match(targetfile) if maker is None else {maker}

        def match_producers(self, targetfile: str) -> set[Any]:
            maker = self._makers.get(targetfile)
            return super().match_producers(targetfile) if maker is None else {maker}

    dag.OutputIndex = Index
