"""The results of a run with faults: one line for each scenario, and their total."""

from dataclasses import dataclass, field

import pytest


@dataclass
class Tally:
    """The counts of one scenario."""

    name: str
    faults: int = 0
    jobs: int = 0
    lost: int = 0
    """Jobs that did not end, or did not end as they should have."""
    doubled: int = 0
    """Jobs with more than one end, or an epoch that is stored twice."""
    wrong: int = 0
    """Jobs whose weights are not those of an undisturbed run."""

    def check(self) -> None:
        """Fail the test if anything was lost, doubled or wrong."""
        assert (self.lost, self.doubled, self.wrong) == (0, 0, 0), self


@dataclass
class FaultLog:
    """The tallies of a run."""

    seed: int
    full: bool
    tallies: list[Tally] = field(default_factory=list)


FAULT_LOG = pytest.StashKey[FaultLog]()


LINE = "{:<74}{:>8}{:>7}{:>7}{:>10}{:>15}"


def table(fault_log: FaultLog) -> list[str]:
    """The lines that close a run."""
    head = LINE.format("scenario", "faults", "jobs", "lost", "doubled", "wrong weights")
    counts = [
        (tally.faults, tally.jobs, tally.lost, tally.doubled, tally.wrong) for tally in fault_log.tallies
    ]
    lines = [
        LINE.format(tally.name, *numbers) for tally, numbers in zip(fault_log.tallies, counts, strict=True)
    ]
    total = LINE.format("all", *(sum(column) for column in zip(*counts, strict=True)))
    return [head, *lines, total, f"repeat with: make chaos SEED={fault_log.seed}"]
