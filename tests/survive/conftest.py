"""What is promised of a run that is disturbed, row by row: how many cases were tried and which of them failed."""

import contextlib
import dataclasses
import os
import time

import pytest

from tests.survive.fault_tries import few_threads


def pytest_configure(config):
    config.addinivalue_line("markers", "survive: the whole of what `make survive` tries; takes minutes")


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


@pytest.fixture
def promise(request):
    """A block in which a promise is tried; it fails at its end if any case did."""
    rows = request.config.stash.setdefault(PROMISES, [])

    @contextlib.contextmanager
    def trying(name):
        row, start = Promise(name), time.perf_counter()
        try:
            yield row
        except BaseException as error:
            row.failures.append(f"{type(error).__name__}: {str(error)[:300]}")
            raise
        finally:
            row.seconds = time.perf_counter() - start
            rows.append(row)
        assert not row.failures, "\n".join(row.failures)
        assert row.cases

    return trying


@pytest.fixture
def broken():
    """Which build that is broken on purpose is tried, to see that it is found out; None is the one that is there."""
    return os.environ.get("HARDMO_SURVIVE_BROKEN") or None


@pytest.fixture
def one_thread():
    """Pyarrow by one thread."""
    with few_threads():
        yield
