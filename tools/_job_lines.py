"""What is printed of a job of many inputs, while it runs and at its end."""

import time

import rich.console
import rich.live
import rich.text

from hardmo_jax.pipelines.runners.annotate_job import JobOutcome
from hardmo_jax.pipelines.runners.job_progress import JobProgress
from tools import _tables

#: Seconds between two lines where the output is no terminal.
_TELL_EVERY = 10.0
#: Failures that are named.
_MOST_NAMED, _MOST_WARNINGS = 20, 8


class JobLines:
    """One line that is renewed on a terminal, and a line now and then elsewhere; used as a context manager."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._live = None
        if console.is_terminal:
            self._live = rich.live.Live(console=console, auto_refresh=False, transient=True)
        self._last = 0.0

    def __enter__(self) -> "JobLines":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: JobProgress) -> None:
        """Tell how far the job is; from any thread."""
        line = told_progress(progress)
        if self._live is not None:
            self._live.update(rich.text.Text(line), refresh=True)
        elif time.monotonic() - self._last >= _TELL_EVERY:
            self._last = time.monotonic()
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def told_progress(progress: JobProgress) -> str:
    """How far a job is, in one line."""
    of = "?" if progress.frames_expected is None else f"{progress.frames_expected:,}"
    words = [f"{progress.num_done} of {progress.num_items} inputs"]
    if progress.num_failed:
        words.append(f"{progress.num_failed} failed")
    rate = "" if progress.looked_per_second is None else f" ({progress.looked_per_second:.1f} frames/s)"
    words.append(f"looked at {progress.frames_looked:,} of {of} frames{rate}")
    words.append(f"labelled {progress.frames_labelled:,}")
    if progress.takes_waiting:
        words.append(f"{progress.takes_waiting} takes wait")
    if progress.memory_bytes is not None:
        words.append(f"{progress.memory_bytes / 2**30:.1f} GiB")
    if progress.seconds_left is not None and progress.state == "running":
        words.append(f"{told_seconds(progress.seconds_left)} left")
    elif progress.state != "running":
        words.append(progress.state)
    return ", ".join(words)


def told_seconds(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_job(outcome: JobOutcome, folder: str) -> None:
    """Stages, failures, and where the labels are."""
    console = rich.console.Console(highlight=False)
    progress = outcome.progress
    if progress.stage_seconds:
        _tables.print_numbers(console, ("seconds at work", "frames/s of one process"), stage_rows(progress))
    for text, count in outcome.warnings[:_MOST_WARNINGS]:
        console.print(f"warning of {count} inputs: {text}", soft_wrap=True, markup=False)
    if len(outcome.warnings) > _MOST_WARNINGS:
        console.print(
            f"and {len(outcome.warnings) - _MOST_WARNINGS} other warnings; run.json beside the labels has all"
        )
    for name, reason in outcome.failures[:_MOST_NAMED]:
        console.print(f"not labelled: {name}: {reason}", soft_wrap=True, markup=False)
    if len(outcome.failures) > _MOST_NAMED:
        console.print(f"and {len(outcome.failures) - _MOST_NAMED} others; tools.status {folder} names them all")
    if outcome.num_labelled_before:
        console.print(f"labelled before: {outcome.num_labelled_before} of {outcome.num_items} inputs")
    if outcome.store is not None:
        console.print(f"{outcome.num_labels:,} labels are in {outcome.store}")
        console.print(f"look at them: python -m tools.report {folder}", soft_wrap=True)
    elif outcome.num_left:
        console.print(
            f"{outcome.num_left} of {outcome.num_items} inputs are left; the same command goes on with them",
            soft_wrap=True,
        )
    else:
        console.print(f"this shard is done; the labels are put together when all shards are (tools.status {folder})")


def stage_rows(progress: JobProgress) -> list[tuple[str, list[str]]]:
    """Time at work of this run by stage, of all processes together, and how fast one process is in it."""
    frames = progress.frames_of_run
    return [
        (stage, [f"{seconds:.1f}", f"{frames / seconds:.1f}" if seconds > 0 else ""])
        for stage, seconds in sorted(progress.stage_seconds.items(), key=lambda pair: -pair[1])
        if seconds >= 0.01 * sum(progress.stage_seconds.values())
    ]
