"""The cases and failures of fuzzing the API."""

from dataclasses import dataclass, field

import pytest


@dataclass
class Run:
    """schemathesis over one kind of database."""

    database: str
    operations: int
    cases: int
    failures: int


@dataclass
class Fuzzing:
    """The number of cases, the seed, and the result."""

    seed: int
    full: bool
    runs: list[Run] = field(default_factory=list)

    def table(self) -> list[str]:
        """The lines that close a run, in Markdown."""
        rows = [
            f"| {run.database} | {run.operations} | {run.cases:,} | {run.failures} |" for run in self.runs
        ]
        head = ["| database | operations | cases tried | failures |", "|---|---|---|---|"]
        return [*head, *rows, f"repeat with: make fuzz SEED={self.seed}"]


FUZZING = pytest.StashKey[Fuzzing]()
