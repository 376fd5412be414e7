"""How long each stage of a job is at work while several are, and how fast each would be by itself."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
#: Of a stage that waits for another one; it is no work.
WAITING = "waiting"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRate:
    """One stage of a job."""

    stage: str
    """Its name."""
    seconds: float
    """Time at work."""
    frames_per_second: float
    """Frames or photos of the job by that time."""


class StageClock:
    """Seconds that stages are at work, each in a thread of its own or inside another stage, which then rests."""

    def __init__(self, stages: Sequence[str] = ()) -> None:
        """Begin at nothing.

        Args:
            stages: Order in which they are told; others come behind.
        """
        self._seconds: dict[str, float] = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextlib.contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time of a block to a stage, also when it raises."""
        stages: list[str] = self._own.__dict__.setdefault("stages", [])
        self._switch(stages)
        stages.append(stage)
        try:
            yield
        finally:
            self._switch(stages)
            stages.pop()

    def timed(self, stage: str, items: Iterable[_Item]) -> Generator[_Item]:
        """The same items; the time that each takes to come counts to a stage."""
        iterator = iter(items)
        try:
            while True:
                with self.at(stage):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _switch(self, stages: list[str]) -> None:
        """What passed since the last switch of this thread was the innermost stage's."""
        now = time.perf_counter()
        if stages:
            with self._lock:
                self._seconds[stages[-1]] = self._seconds.get(stages[-1], 0.0) + now - self._own.since
        self._own.since = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds at work by stage, of those that were."""
        with self._lock:
            return {stage: seconds for stage, seconds in self._seconds.items() if seconds and stage != WAITING}

    def rates(self, num_frames: int) -> tuple[StageRate, ...]:
        """How fast each stage was at work.

        Args:
            num_frames: Of the job.
        """
        return tuple(
            StageRate(stage=stage, seconds=seconds, frames_per_second=num_frames / max(seconds, 1e-9))
            for stage, seconds in self.seconds.items()
        )
