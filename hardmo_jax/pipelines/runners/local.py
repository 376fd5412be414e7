"""The runner of one machine: processes that look at pictures feed processes that label who was seen.

Looking is most of the work and needs no device; as many processes as there are cores do it. Labelling is done by few,
which keep their programs compiled. Takes wait in a queue of bounded length, so that memory does not grow with a job;
when it is full those who look wait. A process that dies or hangs costs its item an attempt, and nobody else anything.
What is labelled is on disk and in the manifest before it counts; the same command goes on with the rest.
"""

import collections
import contextlib
import dataclasses
import os
import queue
import threading
import time
from typing import Any

from hardmo_jax import options as options_module
from hardmo_jax.fitting.threads import num_cores
from hardmo_jax.pipelines.runners.gpus import gpu_environment, visible_gpus
from hardmo_jax.pipelines.runners.job_folder import Job, environment_of_workers
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.ledger import JobLedger
from hardmo_jax.pipelines.runners.manifest import Failure, PartRecord, name_of_part
from hardmo_jax.pipelines.runners.worker_process import WORKER_MODULE, Answer, WorkerProcess

#: Between two looks for processes that hang.
_POLL_SECONDS = 0.5
#: Processes that die before they say anything, one after the other, after which it is no accident.
_FALSE_STARTS = 3


#: Time that a process may take to load what it needs, whatever else the machine does.
_START_SECONDS = 180.0


class WorkersFailError(RuntimeError):
    """Processes of the runner end before they do anything."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How a machine is used; labels do not depend on it."""

    workers: int | None = None
    """Processes that look at pictures; None is one a core."""
    label_workers: int | None = None
    """Processes that label; None is one a GPU, and one where there is none."""
    takes_waiting: int = 4
    """Takes that wait to be labelled at most."""
    attempts: int = 2
    """Times that an item is tried of which a process dies."""
    stall_seconds: float = 900.0
    """Time without a word of a process after which it hangs."""
    memory_gib: float | None = 12.0
    """Memory of a process that looks; one that asks for more fails its item. None is no limit."""
    worker_module: str = WORKER_MODULE
    """Python module that the processes run: one of your own may look or label in another way."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"`workers` must be 1 or more, got {self.workers}")
        for name in ("label_workers", "takes_waiting", "attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {value}")
        if not self.stall_seconds > 0:
            raise ValueError(f"`stall_seconds` must be positive, got {self.stall_seconds}")

    @property
    def num_workers(self) -> int:
        """Processes that look at pictures."""
        return num_cores() if self.workers is None else self.workers


@dataclasses.dataclass(kw_only=True)
class _InHand:
    """An item that is looked at, or of which takes are still to be labelled."""

    item: JobItem
    looker: WorkerProcess | None = None
    outstanding: int = 0
    """Takes that are looked at and not in the manifest."""
    told: dict[str, Any] | None = None
    """Of the item, once all of it is looked at."""
    failure: Failure | None = None
    frames_before: int = 0
    """Of takes that were labelled before this attempt."""
    lost: str | None = None
    """How the process ended that looked at it."""
    last_words: str = ""
    """What that printed before."""


@dataclasses.dataclass(kw_only=True)
class _TakeToLabel:
    """A take that waits, or is labelled."""

    hand: _InHand
    header: dict[str, Any]
    payload: bytes
    attempts: int = 1
    takes_room: bool = True
    """Whether it is one of those that may wait."""


class LocalRunner:
    """One run of a job."""

    def __init__(
        self,
        job: Job,
        ledger: JobLedger,
        todo: list[JobItem],
        options: LocalOptions,
        *,
        compiled: str | None,
        stop: threading.Event,
    ) -> None:
        """Set up; no process is started yet.

        Args:
            job: What is done.
            ledger: Gets what is done.
            todo: Items that are not done, in the order in which they are begun.
            options: How the machine is used.
            compiled: Folder of compiled programs; None is that of JAX.
            stop: Once set, takes that are looked at are labelled, and nothing else is begun.
        """
        self._job, self._ledger, self._options, self._stop = job, ledger, options, stop
        self._todo = collections.deque(todo)
        self._compiled = compiled
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._room = threading.Semaphore(options.takes_waiting)
        self._gpus = visible_gpus()
        self._num_labellers = options.label_workers or max(len(self._gpus), 1)
        self._slots: dict[WorkerProcess, int] = {}
        self._attempts: dict[str, int] = {}
        ledger.num_labellers = self._num_labellers
        self._lookers: dict[WorkerProcess, _InHand | None] = {}
        self._labellers: dict[WorkerProcess, _TakeToLabel | None] = {}
        self._ready: set[WorkerProcess] = set()
        self._waiting: collections.deque[_TakeToLabel] = collections.deque()
        self._hands: list[_InHand] = []
        self._warm_facts: dict[str, Any] | None = None
        self._false_starts = 0

    # The loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do all that is to do, or what is in hand once told to stop.

        Raises:
            WorkersFailError: If processes end before they do anything.
            OSError: If the manifest cannot be written.
        """
        try:
            while not self._is_over():
                self._give_out()
                with contextlib.suppress(queue.Empty):
                    self._hear(self._answers.get(timeout=_POLL_SECONDS))
                # Whatever others say meanwhile.
                self._end_hung()
        finally:
            for worker in [*self._lookers, *self._labellers]:
                worker.end()

    def _is_over(self) -> bool:
        if self._stop.is_set():
            # What is looked at only is done again; what waits, or is on its way here, is nearly done.
            while not self._answers.empty():
                self._hear(self._answers.get())
            for worker, hand in list(self._lookers.items()):
                self._lookers.pop(worker)
                worker.end()
                if hand is not None:
                    hand.looker = None
                    self._close(hand)
            return not self._waiting and not any(self._labellers.values())
        return not self._todo and not self._hands

    def _give_out(self) -> None:
        options = self._options
        if not self._stop.is_set():
            num_busy = sum(hand is not None for hand in self._lookers.values())
            wanted = min(options.num_workers, len(self._todo) + num_busy)
            while len(self._lookers) < wanted:
                self._lookers[self._started("look")] = None
            for worker, hand in list(self._lookers.items()):
                if hand is None and self._todo:
                    item = self._todo.popleft()
                    self._look(worker, item, self._attempts.get(item.name, 0) + 1)
        is_work = bool(self._hands or self._waiting or any(self._labellers.values()))
        while is_work and len(self._labellers) < self._num_labellers:
            self._labellers[self._started("label")] = None
        for worker, take in list(self._labellers.items()):
            if take is None and worker in self._ready and self._waiting:
                self._label(worker, self._waiting.popleft())
        self._ledger.takes_waiting = len(self._waiting)
        self._ledger.pids = (os.getpid(), *(worker.pid for worker in [*self._lookers, *self._labellers]))

    def _started(self, role: str) -> WorkerProcess:
        options = self._options
        environment = environment_of_workers()
        memory = None
        if role == "look" and self._job.options.initialise.network == "none":
            # The device is for those who label.
            environment["JAX_PLATFORMS"] = "cpu"
            memory = None if options.memory_gib is None else int(options.memory_gib * 2**30)
        # Who takes the place of a process that died takes its GPU.
        others = self._lookers if role == "look" else self._labellers
        taken = {self._slots[worker] for worker in others}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        if role == "label":
            environment |= gpu_environment(slot, self._num_labellers, self._gpus)
        elif "JAX_PLATFORMS" not in environment:
            environment |= gpu_environment(slot, options.num_workers, self._gpus)
        setting = {
            "role": role,
            "options": options_module.to_mapping(self._job.options),
            "model_folder": str(self._job.model_folder),
            "memory_bytes": memory,
            "compiled": self._compiled,
            "num_threads": max(num_cores() // options.num_workers, 1),
        }
        worker = WorkerProcess(setting, environment, self._answers, self._room, module=options.worker_module)
        self._slots[worker] = slot
        return worker

    def _look(self, worker: WorkerProcess, item: JobItem, attempts: int) -> None:
        self._attempts[item.name] = attempts
        parts = self._ledger.begin(item)
        hand = _InHand(item=item, looker=worker)
        self._lookers[worker] = hand
        self._hands.append(hand)
        worker.ask(
            {
                "item": item.name,
                "source": str(item.source),
                "photos": list(item.photos),
                "skip_takes": len(parts),
                "end": parts[-1].end if parts else 0,
                "next_track": parts[-1].next_track if parts else 0,
                "source_sha256": parts[-1].told.get("source_sha256") if parts else None,
            }
        )

    def _label(self, worker: WorkerProcess, take: _TakeToLabel) -> None:
        self._labellers[worker] = take
        self._make_room(take)
        path = self._job.parts_of(take.hand.item) / name_of_part(take.header["number"])
        worker.ask({**take.header, "kind": "label", "path": str(path)}, take.payload)

    def _make_room(self, take: _TakeToLabel) -> None:
        """Let another take be looked at in the place of one that waits no longer."""
        if take.takes_room:
            take.takes_room = False
            self._room.release()

    # What workers say ----------------------------------------------------------------------------------------

    def _hear(self, answer: Answer) -> None:
        worker, kind = answer.worker, answer.header.get("kind")
        try:
            self._take_in(worker, kind, answer)
        except (KeyError, TypeError, ValueError) as error:
            # A process that was taken over by the file it read says anything.
            worker.kill(f"what it said is no answer ({error})")

    def _take_in(self, worker: WorkerProcess, kind: Any, answer: Answer) -> None:
        if kind == "take" and self._lookers.get(worker) is None:
            # Of an item that is given up.
            self._room.release()
        elif worker in self._lookers:
            self._hear_looker(worker, kind, answer)
        elif worker in self._labellers:
            self._hear_labeller(worker, kind, answer)

    def _hear_looker(self, worker: WorkerProcess, kind: Any, answer: Answer) -> None:
        hand, header = self._lookers[worker], answer.header
        if kind == "gone":
            self._lookers.pop(worker)
            how, words = worker.how_it_ended(), worker.last_words()
            worker.end()
            if not worker.has_spoken:
                self._count_false_start(worker.role, how, words)
            if hand is not None:
                # An item is not to blame for a process that never began.
                self._attempts[hand.item.name] -= not worker.has_spoken
                hand.looker, hand.lost, hand.last_words = None, how, words
                self._close(hand)
            return
        if hand is None:
            return
        if kind == "begun":
            self._false_starts = 0
            facts = header["facts"]
            self._ledger.opened(hand.item.name, frames=facts["frame_count"], skip_takes=header["skip_takes"])
            hand.frames_before = self._ledger.frames_of_parts(hand.item.name)
            if self._warm_facts is None and facts["kind"] == "video":
                # Programs are loaded while the first frames are looked at.
                self._warm_facts = facts
                for labeller in self._ready:
                    labeller.ask({"kind": "warm", "facts": facts})
        elif kind == "at" and header.get("stage") == "perceive":
            self._ledger.looked_at(hand.item.name, hand.frames_before + header["done"])
        elif kind == "take":
            hand.outstanding += 1
            told = {name: header[name] for name in ("number", "facts", "end", "next_track", "seconds")}
            self._waiting.append(_TakeToLabel(hand=hand, header=told, payload=answer.payload))
        elif kind in ("looked", "failed"):
            self._lookers[worker], hand.looker = None, None
            if kind == "looked":
                hand.told = header["told"]
            else:
                hand.failure = Failure(stage="look", reason=header["reason"], trace=header["trace"])
            self._close(hand)

    def _hear_labeller(self, worker: WorkerProcess, kind: Any, answer: Answer) -> None:
        take, header = self._labellers[worker], answer.header
        if kind == "gone":
            self._labellers.pop(worker)
            self._ready.discard(worker)
            how, words = worker.how_it_ended(), worker.last_words()
            worker.end()
            if not worker.has_spoken:
                self._count_false_start(worker.role, how, words)
            if take is not None and take.attempts < self._options.attempts:
                take.attempts += 1
                self._waiting.appendleft(take)
            elif take is not None:
                reason = f"the process that labelled it ended with {how}"
                self._take_failed(take, Failure(stage="fit", reason=reason, trace=words))
        elif kind == "ready":
            self._ready.add(worker)
            self._false_starts = 0
            if self._warm_facts is not None:
                worker.ask({"kind": "warm", "facts": self._warm_facts})
        elif take is not None and kind in ("part", "failed"):
            self._labellers[worker] = None
            if kind == "part":
                self._take_labelled(take, PartRecord.from_json(header["part"]))
            else:
                self._take_failed(take, Failure(stage="fit", reason=header["reason"], trace=header["trace"]))

    def _take_labelled(self, take: _TakeToLabel, part: PartRecord) -> None:
        hand = take.hand
        # Takes before one that failed are kept, whichever was ready first; those behind it follow nothing.
        self._ledger.take_labelled(hand.item.name, take.header["number"], part)
        hand.outstanding -= 1
        self._close(hand)

    def _take_failed(self, take: _TakeToLabel, failure: Failure) -> None:
        hand = take.hand
        hand.outstanding -= 1
        hand.failure = hand.failure or failure
        # The rest of the item need not be looked at.
        if hand.looker is not None:
            self._lookers.pop(hand.looker)
            hand.looker.end()
            hand.looker = None
        failed = take.header["number"]
        mine = [one for one in self._waiting if one.hand is hand and one.header["number"] > failed]
        for one in mine:
            self._waiting.remove(one)
            self._make_room(one)
            hand.outstanding -= 1
        self._close(hand)

    def _close(self, hand: _InHand) -> None:
        """Write down what has become of an item, once nothing of it is under way."""
        if hand.looker is not None or hand.outstanding or hand not in self._hands:
            return
        name = hand.item.name
        if hand.failure is None and hand.told is None:
            if hand.lost is None or self._stop.is_set():
                # Told to stop: what is labelled stays, the rest is for the next run.
                self._hands.remove(hand)
                self._ledger.put_back(name)
                return
            if self._attempts[name] < self._options.attempts:
                self._hands.remove(hand)
                self._todo.appendleft(hand.item)
                return
            reason = f"{hand.item.source}: the process that read it ended with {hand.lost}"
            hand.failure = Failure(stage="look", reason=reason, trace=hand.last_words)
        self._hands.remove(hand)
        if hand.failure is not None:
            self._ledger.fail(name, hand.failure)
        else:
            self._ledger.end(name, hand.told or {})

    def _count_false_start(self, role: str, how: str, last_words: str) -> None:
        self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS:
            raise WorkersFailError(f"a process to {role} ended with {how} before it did anything; {last_words}")

    def _end_hung(self) -> None:
        """Kill processes that are at work and have said nothing for long."""
        now = time.monotonic()
        busy = [worker for worker, hand in self._lookers.items() if hand is not None]
        # One that is never ready is given nothing, and holds up everybody.
        busy += [worker for worker, take in self._labellers.items() if take is not None or worker not in self._ready]
        for worker in busy:
            patience = self._options.stall_seconds
            if not worker.has_spoken:
                patience = max(patience, _START_SECONDS)
            if now - worker.heard > patience:
                worker.kill(f"nothing said for {patience:g} s, so it was stopped")
