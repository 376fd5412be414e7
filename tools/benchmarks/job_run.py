"""A run of a job of many inputs, watched: when frames were labelled, and the memory of all its processes."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from hardmo_jax.pipelines.runners.manifest import read_item_states

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_LOOK_EVERY = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchedRun:
    """What was seen of a run from outside."""

    seconds: float
    """From the start of its process to the end."""
    labelled: tuple[tuple[float, int], ...]
    """Seconds since the start, and frames labelled, whenever these became more."""
    progress: tuple[dict[str, Any], ...]
    """Lines of `progress.jsonl`."""
    peak_mb: float
    """Most memory of all processes together."""
    status: int

    def rate_after_start(self) -> float:
        """Frames a second from the first that are labelled to the last."""
        (start, before), *_ = self.labelled
        end, after = self.labelled[-1]
        return (after - before) / (end - start)


def watch_job(inputs: list[pathlib.Path], output: pathlib.Path, *flags: str, kill_at: int | None = None) -> WatchedRun:
    """Run `tools.annotate` on many inputs.

    Args:
        inputs: Files or folders.
        output: Folder of the job.
        flags: Further ones, the runner among them.
        kill_at: Frames labelled at which the whole run is killed; None lets it end.
    """
    command = [sys.executable, "-m", "tools.annotate", "--config=configs/normal.py", f"--output_dir={output}"]
    command += [*(f"--input={path}" for path in inputs), *flags]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    labelled: list[tuple[float, int]] = []
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory_mb(process.pid))
        done = frames_labelled(output)
        if done and (not labelled or done > labelled[-1][1]):
            labelled.append((time.perf_counter() - start, done))
        if kill_at is not None and done >= kill_at:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(_LOOK_EVERY)
    done = frames_labelled(output)
    if done and (not labelled or done > labelled[-1][1]):
        labelled.append((time.perf_counter() - start, done))
    path = output / "progress.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return WatchedRun(
        seconds=time.perf_counter() - start,
        labelled=tuple(labelled),
        progress=tuple(json.loads(line) for line in lines),
        peak_mb=peak,
        status=process.returncode,
    )


def frames_labelled(output: pathlib.Path) -> int:
    """Frames that the manifest of a job says are labelled."""
    return sum(part.num_pictures for state in read_item_states(output).values() for part in state.parts)


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and all below it, MB; what they share counts for each."""
    import psutil

    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20
