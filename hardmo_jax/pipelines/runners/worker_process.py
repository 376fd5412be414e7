"""A worker as the runner sees it: a process that is asked, answers through a thread, and can be ended at any time."""

import contextlib
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from hardmo_jax.pipelines.runners.messages import MessageError, receive_message, send_message

WORKER_MODULE = "hardmo_jax.pipelines.runners.worker"
#: What is shown of what a process said before it ended.
_TAIL_BYTES = 1500
_LOOK_EVERY = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """Something that a worker said, or that it is gone."""

    worker: "WorkerProcess"
    header: dict[str, Any]
    """`kind` says what; `gone` is said when the process has ended."""
    payload: bytes = b""


class WorkerProcess:
    """One process."""

    def __init__(
        self,
        setting: dict[str, Any],
        environment: dict[str, str],
        answers: "queue.Queue[Answer]",
        room: threading.Semaphore,
        *,
        module: str = WORKER_MODULE,
    ) -> None:
        """Start it.

        Args:
            setting: Its first message.
            environment: Of the process.
            answers: Gets what it says.
            room: Taken before each take is handed on, so that no more of them wait than there is room for; whoever
                takes one from the answers gives it back.
            module: Python module that the process runs.
        """
        self.role: str = setting["role"]
        self.heard = time.monotonic()
        """When it last said something."""
        self.has_spoken = False
        """Whether it ever did."""
        self._answers, self._room = answers, room
        self._is_ended = threading.Event()
        # What libraries print is shown if the process dies of it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
            # So that a Ctrl-C of the terminal reaches the runner alone, which ends the others in order.
            start_new_session=os.name != "nt",
        )  # fmt: skip
        self._asked: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None] = queue.SimpleQueue()
        self._killed_because: str | None = None
        self._threads = [
            threading.Thread(target=work, name=f"{self.role}-{self.pid}", daemon=True)
            for work in (self._listen, self._speak)
        ]
        for thread in self._threads:
            thread.start()
        self.ask(setting)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Send a message, without waiting for the process to read it; one that is gone says so by its last answer."""
        self.heard = time.monotonic()
        self._asked.put((header, payload))

    def kill(self, reason: str) -> None:
        """Kill a process that hangs; its last answer is that it is gone.

        Args:
            reason: As `how_it_ended` tells it.
        """
        self._killed_because = reason
        self._kill_all()

    def end(self) -> None:
        """Kill the process; nothing more is heard of it."""
        self._is_ended.set()
        self._kill_all()
        self._process.wait()
        self._asked.put(None)
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                # What was not sent any more cannot be flushed.
                with contextlib.suppress(OSError):
                    stream.close()

    def _kill_all(self) -> None:
        """Kill the process and those that it started, such as one that decodes."""
        if os.name != "nt":
            # Its group is its own.
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def how_it_ended(self) -> str:
        """Status or signal of a process that is gone, and the end of what it said."""
        code = self._process.wait()
        if self._killed_because is not None:
            return self._killed_because
        told = f"status {code}"
        if code < 0:
            hint = " (killed; perhaps as the memory ran out)" if code == -9 else ""
            told = f"signal {-code}{hint}"
        return told

    def last_words(self) -> str:
        """The end of what the process printed."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - _TAIL_BYTES, 0))
        return self._errors.read().decode("utf-8", "replace").strip()

    def _speak(self) -> None:
        while (message := self._asked.get()) is not None:
            try:
                if self._process.stdin is not None:
                    send_message(self._process.stdin, *message)
            except (OSError, ValueError):
                return

    def _listen(self) -> None:
        stream = self._process.stdout
        try:
            while stream is not None and (message := receive_message(stream)) is not None:
                self.heard, self.has_spoken = time.monotonic(), True
                header, payload = message
                if header.get("kind") == "take" and not self._has_room():
                    return
                self._put(Answer(worker=self, header=header, payload=payload))
        except (MessageError, OSError, ValueError):
            pass
        self._put(Answer(worker=self, header={"kind": "gone"}))

    def _has_room(self) -> bool:
        """Wait for room for a take; false if the process was ended meanwhile."""
        while not self._is_ended.is_set():
            if self._room.acquire(timeout=_LOOK_EVERY):
                return True
            # To wait is no sign of death.
            self.heard = time.monotonic()
        return False

    def _put(self, answer: Answer) -> None:
        if self._is_ended.is_set():
            if answer.header.get("kind") == "take":
                self._room.release()
            return
        self._answers.put(answer)
