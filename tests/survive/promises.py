"""What is promised of a run that is disturbed: how many cases were tried, and which of them failed."""

import dataclasses

import pytest


@dataclasses.dataclass
class Promise:
    """One row of the table."""

    name: str
    cases: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    def tried(self, problem: str | None = None, cases: int = 1) -> None:
        """Some cases were tried; what was wrong, if anything."""
        self.cases += cases
        if problem:
            self.failures.append(problem)


PROMISES = pytest.StashKey[list[Promise]]()
