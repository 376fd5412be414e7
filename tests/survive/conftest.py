"""What is promised of a run that is disturbed, row by row: how many cases were tried and which of them failed."""

import contextlib
import os
import time

import pytest

from tests.survive.fault_tries import few_threads
from tests.survive.promises import PROMISES, Promise


def pytest_configure(config):
    config.addinivalue_line("markers", "survive: the whole of what `make survive` tries; takes minutes")


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
