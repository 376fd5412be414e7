"""Jobs in processes that are killed: a copy of this one, so that a try costs what the job costs."""

import contextlib
import os
import pathlib
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from unittest import mock


def run_in_copy(work: Callable[[], object], kill_after: float | None) -> float | None:
    """Do something in a copy of this process, and kill that after some time; how long it took if it was not.

    Args:
        work: What is done.
        kill_after: Seconds; None waits for the end.

    Raises:
        ChildProcessError: If it ended by itself otherwise than well.
    """
    sys.stdout.flush()
    start = time.perf_counter()
    with warnings.catch_warnings():
        # What JAX's threads held is not used there.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # A kill loses nothing of what the system has, so that nothing needs to be on disk.
            with mock.patch.object(os, "fsync", return_value=None):
                work()
            status = 0
        except BaseException as error:
            with contextlib.suppress(BaseException):
                os.write(2, f"in the copy: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    while True:
        passed = time.perf_counter() - start
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if passed > (60.0 if kill_after is None else kill_after):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return None
    if os.WEXITSTATUS(status):
        raise ChildProcessError(f"the job in the copy ended with status {os.WEXITSTATUS(status)}")
    return time.perf_counter() - start


def kill_at_random(
    work: Callable[[pathlib.Path], object],
    check: Callable[[pathlib.Path], str | None],
    check_end: Callable[[pathlib.Path], str | None],
    folder: pathlib.Path,
    *,
    kills: int,
    seed: int,
) -> list[str | None]:
    """Kill jobs at random moments until so many were killed, three times each, and let each end at last.

    Args:
        work: What a job does in its folder.
        check: What is lost after a kill.
        check_end: What is wrong in the end.
        folder: For jobs.
        kills: How many.
        seed: Of the moments.

    Returns:
        What was wrong after each kill.
    """
    drawn, told, number = random.Random(seed), list[str | None](), 0
    usual = run_in_copy(lambda: work(folder / "undisturbed"), None) or 1.0
    while len(told) < kills:
        own, problems = folder / f"job_{number}", list[str | None]()
        for _ in range(3):
            took = run_in_copy(lambda own=own: work(own), drawn.uniform(0, usual))
            if took is not None:
                usual = 0.7 * usual + 0.3 * took
                break
            problems.append(check(own))
        if run_in_copy(lambda own=own: work(own), None) is None:
            problems.append("a job that nobody kills does not end")
        problems.append(check_end(own))
        number += 1
        wrong = next((problem for problem in problems if problem), None)
        told += [problem or wrong for problem in problems[:-1]] if wrong else problems[:-1]
    return told
