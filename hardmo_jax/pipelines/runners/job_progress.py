"""How far a job of many inputs is: counts, rates and time left, told on the terminal and kept in `progress.jsonl`.

A line is written every few seconds whatever happens, so that whoever reads the file, without a terminal or on another
machine, knows that the job lives.
"""

import collections
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Seconds between two lines; whoever sees none for three of these may take the job for dead.
HEARTBEAT_SECONDS = 4.0
FILE = "progress"
_MAX_LINE = 1 << 20
#: Pieces of work whose cost is remembered.
_LAST_COSTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobProgress:
    """How far a job is, at one moment."""

    state: str
    """`running`, `publishing`, `stopping`, or how it ended: `done`, `partly`, `stopped`."""
    elapsed_seconds: float
    """Of this run."""
    num_items: int
    num_done: int
    num_failed: int
    num_in_hand: int
    frames_looked: int
    """Of all runs."""
    frames_labelled: int
    frames_expected: int | None
    """In all; an estimate until all inputs have been opened, None until the first one has."""
    frames_of_run: int
    """Labelled by this run."""
    num_labels: int
    looked_per_second: float | None
    """Frames, by this run."""
    labelled_per_second: float | None
    seconds_left: float | None
    stage_seconds: Mapping[str, float]
    """At work, by stage, of this run; several are at once."""
    takes_waiting: int
    """That are looked at and wait to be labelled."""
    memory_bytes: int | None
    """Of all processes; None where the system does not tell."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded, with the time of day."""
        told: dict[str, Any] = {"time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            told[field.name] = round(value, 3) if isinstance(value, float) else value
        told["stage_seconds"] = {name: round(value, 3) for name, value in self.stage_seconds.items()}
        return told


class FrameCount:
    """How many frames a job has: those of inputs that were opened are known, of others their size tells."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._unknown: dict[str, tuple[str, int]] = {}
        self._frames: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

    def add(self, name: str, kind: str, num_bytes: int | None) -> None:
        """An input that nobody has opened.

        Args:
            name: Its own.
            kind: Inputs of one kind, such as suffix, have as many frames a byte.
            num_bytes: Its size.
        """
        if name not in self._known:
            self._unknown[name] = (kind, num_bytes or 0)

    def know(self, name: str, frames: int | None) -> None:
        """What its header says of an input, or what it had in the end; None says nothing."""
        if frames is None:
            return
        kind, num_bytes = self._unknown.pop(name, (None, 0))
        self._known[name] = frames
        if kind is not None and num_bytes:
            self._frames[kind] = self._frames.get(kind, 0) + frames
            self._bytes[kind] = self._bytes.get(kind, 0) + num_bytes

    def drop(self, name: str) -> None:
        """An input that cannot be labelled has no frames."""
        self._unknown.pop(name, None)
        self._known.pop(name, None)

    @property
    def expected(self) -> int | None:
        """Frames of all inputs; None until one was opened."""
        if not self._known and self._unknown:
            return None
        frames, num_bytes = sum(self._frames.values()), sum(self._bytes.values())
        total = float(sum(self._known.values()))
        for kind, size in self._unknown.values():
            if kind in self._bytes:
                total += size * self._frames[kind] / self._bytes[kind]
            elif num_bytes:
                total += size * frames / num_bytes
        return round(total)


class RateOfRun:
    """Frames a second since the first ones, and the time that others take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: float | None = None
        self._first = 0
        self._done = 0
        self._at = 0.0

    def step(self, done: int) -> None:
        """So many frames are done, of all runs."""
        now = self._clock()
        if self._start is None or done <= self._first:
            # Models are loaded, and what earlier runs did is no work of this one.
            self._start, self._first = now, done
        if done != self._done:
            self._done, self._at = done, now

    @property
    def per_second(self) -> float | None:
        """Frames a second; None before there are some."""
        if self._start is None or self._done <= self._first or self._at <= self._start:
            return None
        return (self._done - self._first) / (self._at - self._start)

    def seconds_for(self, frames: int) -> float | None:
        """Time that so many more take, from now."""
        rate = self.per_second
        return None if rate is None else max(frames / rate - (self._clock() - self._at), 0.0)


class UsualCost:
    """What a frame usually costs, by the last pieces of work: programs that are loaded in between count for nothing."""

    def __init__(self) -> None:
        self._costs: collections.deque[tuple[float, int]] = collections.deque(maxlen=_LAST_COSTS)

    def add(self, frames: int, seconds: float) -> None:
        """A piece of work is done."""
        if frames:
            self._costs.append((seconds / frames, frames))

    @property
    def per_frame(self) -> float | None:
        """Seconds, the lower median over frames; None before anything is done."""
        half, seen = sum(frames for _, frames in self._costs) / 2, 0
        for cost, frames in sorted(self._costs):
            seen += frames
            if seen >= half:
                return cost
        return None


class Heartbeat:
    """Tells how far a job is every few seconds, in a thread of its own; used as a context manager."""

    def __init__(
        self,
        path: pathlib.Path,
        now: Callable[[], JobProgress],
        tell: Callable[[JobProgress], None],
        *,
        every_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Set up.

        Args:
            path: The file that lines are added to.
            now: Asked how far the job is; in the thread.
            tell: Told so too, for the terminal.
            every_seconds: Between two lines.
        """
        self._path, self._now, self._tell, self._every = path, now, tell, every_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self.write()

    def write(self) -> None:
        """One line now."""
        progress = self._now()
        data = json.dumps(progress.to_json(), separators=(",", ":")).encode() + b"\n"
        # A full disk stops the job where labels are written, and says so there.
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(data)
        # A terminal may be gone, as when ssh breaks off.
        with contextlib.suppress(OSError, ValueError):
            self._tell(progress)

    def _beat(self) -> None:
        start, beats = time.monotonic(), 0
        while True:
            self.write()
            # From the start on: what a line takes to write delays none of the others.
            beats = max(beats + 1, int((time.monotonic() - start) / self._every))
            if self._is_over.wait(max(start + beats * self._every - time.monotonic(), 0.0)):
                return


def last_progress(path: pathlib.Path) -> dict[str, Any] | None:
    """The last whole line of a `progress.jsonl`; None if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _MAX_LINE, 0))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def memory_of(pids: Iterable[int]) -> int | None:
    """Memory that processes hold, bytes; None where the system does not tell."""
    total = None
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
            total = (total or 0) + pages * os.sysconf("SC_PAGE_SIZE")
    return total
