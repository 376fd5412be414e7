"""What a runner has got back from its stages: parts go to the manifest in order, and anybody may ask how far it is."""

import threading
import time

from hardmo_jax.pipelines.runners.job_folder import Job
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.job_progress import FrameCount, JobProgress, RateOfRun, UsualCost, memory_of
from hardmo_jax.pipelines.runners.manifest import Failure, ItemState, Manifest, PartRecord

#: What those do who label.
_LABEL_STAGES = ("camera", "fit", "label", "score", "write")


class JobLedger:
    """The state of one run of a job; its methods may be called from any thread."""

    def __init__(self, job: Job, manifest: Manifest) -> None:
        """Begin where the manifest is.

        Args:
            job: What is done.
            manifest: Where it is written down.
        """
        self._job, self._manifest = job, manifest
        self._lock = threading.RLock()
        self._start = time.monotonic()
        self._early: dict[str, dict[int, PartRecord]] = {}
        self._ahead: dict[str, int] = {}
        self._count = FrameCount()
        self._looked_rate, self._labelled_rate = RateOfRun(), RateOfRun()
        self._label_cost = UsualCost()
        self._seconds: dict[str, float] = {}
        self._frames_of_run = 0
        self.takes_waiting = 0
        """That are looked at and wait to be labelled, as the runner says."""
        self.num_labellers = 1
        """Processes that label, as the runner says."""
        self.pids: tuple[int, ...] = ()
        """Of the processes whose memory is told."""
        for item in job.own_items:
            self._count.add(item.name, item.source.suffix.lower() or "photos", item.num_bytes)
            state = manifest.items.get(item.name)
            if item.photos:
                self._count.know(item.name, len(item.photos))
            elif state is not None and state.state == "done":
                self._count.know(item.name, sum(part.num_pictures for part in state.parts))

    def begin(self, item: JobItem) -> list[PartRecord]:
        """An item is given to somebody to look at.

        Returns:
            Its leading takes that are labelled.
        """
        with self._lock:
            known = self._manifest.items.get(item.name)
            kept = 0 if known is None else len(known.parts)
            # In the middle of a shot people are followed from what was seen before.
            while known is not None and kept and not known.parts[kept - 1].told.get("ends_shot", True):
                kept -= 1
            self._early[item.name], self._ahead[item.name] = {}, 0
            named = set() if known is None else {part.file for part in known.parts[:kept]}
            for path in self._job.parts_of(item).glob("[0-9]*.parquet"):
                if path.name not in named:
                    # Of an attempt that was not written down.
                    path.unlink(missing_ok=True)
            return self._manifest.begin(item.name, item.num_bytes, kept_parts=kept).parts

    def opened(self, name: str, *, frames: int | None, skip_takes: int) -> None:
        """An item was opened.

        Args:
            name: Its own.
            frames: That its header announces.
            skip_takes: Takes that are not looked at again; fewer than are known where it cannot be gone on with.
        """
        with self._lock:
            self._count.know(name, frames)
            # What is labelled again gives the same bytes.
            del self._manifest.items[name].parts[skip_takes:]

    def looked_at(self, name: str, frames: int) -> None:
        """Frames of an item that were looked at, those of labelled takes among them."""
        with self._lock:
            self._ahead[name] = frames

    def take_labelled(self, name: str, number: int, part: PartRecord) -> None:
        """A take is labelled, perhaps before one before it."""
        with self._lock:
            early = self._early.setdefault(name, {})
            early[number] = part
            state = self._manifest.items[name]
            while len(state.parts) in early:
                own = early.pop(len(state.parts))
                start = time.perf_counter()
                state = self._manifest.add_part(name, len(state.parts), own)
                self.add_seconds("manifest", time.perf_counter() - start)
                self._frames_of_run += own.num_pictures
                self._label_cost.add(own.num_pictures, sum(own.seconds.get(stage, 0.0) for stage in _LABEL_STAGES))
                for stage, seconds in own.seconds.items():
                    self.add_seconds(stage, seconds)

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Time at work of a stage, of this run."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def num_parts(self, name: str) -> int:
        """Takes of an item that are labelled, without gaps."""
        with self._lock:
            return len(self._manifest.items[name].parts)

    def frames_of_parts(self, name: str) -> int:
        """Frames in them."""
        with self._lock:
            return _frames_of(self._manifest.items.get(name))

    def end(self, name: str, told: dict[str, object]) -> None:
        """All of an item is labelled."""
        with self._lock:
            self._forget(name)
            self._count.know(name, _frames_of(self._manifest.end(name, told)))

    def fail(self, name: str, failure: Failure) -> None:
        """An item cannot be labelled."""
        with self._lock:
            self._forget(name)
            self._manifest.fail(name, failure)
            self._count.drop(name)

    def put_back(self, name: str) -> None:
        """An item is left to the next run; what is labelled of it stays."""
        with self._lock:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._early.pop(name, None)
        self._ahead.pop(name, None)

    def progress(self, state: str) -> JobProgress:
        """How far the job is.

        Args:
            state: See `JobProgress`.
        """
        with self._lock:
            items = {item.name: self._manifest.items.get(item.name) for item in self._job.own_items}
            known = {name: item for name, item in items.items() if item is not None}
            labelled = sum(_frames_of(item) for item in known.values())
            looked = labelled + sum(
                max(frames - _frames_of(known.get(name)), 0) for name, frames in self._ahead.items()
            )
            if self._ahead:
                self._looked_rate.step(looked)
                self._labelled_rate.step(labelled)
            expected = self._count.expected
            # Looking is the slower stage, or waits for the other: both go at one pace.
            left = None if expected is None else self._looked_rate.seconds_for(max(expected - looked, 0))
            label_cost = self._label_cost.per_frame
            if expected is not None and left is not None and label_cost is not None:
                # The last takes are labelled when nothing is left to look at.
                left = max(left, max(expected - labelled, 0) * label_cost / self.num_labellers)
            return JobProgress(
                state=state,
                elapsed_seconds=time.monotonic() - self._start,
                num_items=len(items),
                num_done=sum(item.state == "done" for item in known.values()),
                num_failed=sum(item.state == "failed" for item in known.values()),
                num_in_hand=len(self._ahead),
                frames_looked=looked,
                frames_labelled=labelled,
                frames_expected=expected,
                frames_of_run=self._frames_of_run,
                num_labels=sum(part.num_rows for item in known.values() for part in item.parts),
                looked_per_second=self._looked_rate.per_second,
                labelled_per_second=self._labelled_rate.per_second,
                seconds_left=left,
                stage_seconds=dict(self._seconds),
                takes_waiting=self.takes_waiting,
                memory_bytes=memory_of(self.pids),
            )


def _frames_of(state: ItemState | None) -> int:
    return 0 if state is None else sum(part.num_pictures for part in state.parts)
