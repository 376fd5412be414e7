"""Decoding in a process that may crash, hang or run out of memory without taking this one along.

    with ProcessDecoder(DecodingLimits(seconds=30.0)) as decoder:
        for frame in video.open_media("walk.mp4", decoder=decoder).frames():
            ...

Whatever a file does to its decoder, the error is a `DecodingError` in one line, which is a `MediaError`; the next file
is decoded by a new process. A process serves one reader at a time and is kept for the next.
"""

import atexit
import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

import hardmo_jax
from hardmo_jax.perception import decoding_child, video_stream
from hardmo_jax.perception.decoders import FrameReader, StreamFrame
from hardmo_jax.perception.photos import MediaError

#: How often it is looked whether a process takes too long, seconds.
_LOOK_EVERY = 0.1
_START_SECONDS, _END_SECONDS = 120.0, 2.0
_MAX_LINE = 1 << 20
#: Bytes that Linux keeps between two processes; more than its 64 KiB make pictures of megabytes quicker.
_PIPE_BYTES = 1 << 20
_PROGRAM = (
    "import sys; from hardmo_jax.perception import decoding_child as it; it.serve(float(sys.argv[1]), int(sys.argv[2]))"
)


class DecodingError(MediaError):
    """A file made its decoder crash, take too long, or need more memory than it may; the message is one line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingLimits:
    """What a process that decodes may take."""

    seconds: float = 60.0
    """For one answer: to open a file, to decode one frame, to decode a photo."""
    memory_bytes: int = 6 << 30
    """Address space of the process. Held by Linux; macOS and Windows limit none."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 86_400:
            raise ValueError(f"`seconds` must lie between 0 and 86400, got {self.seconds}")
        if self.memory_bytes < 1 << 30:
            raise ValueError(f"`memory_bytes` must be at least 1 GiB, which the programs take, got {self.memory_bytes}")


class ProcessDecoder:
    """A `decoders.Decoder` whose work is done by processes of its own. Close it, or use it in `with`."""

    def __init__(self, limits: DecodingLimits | None = None) -> None:
        self.limits = limits or DecodingLimits()
        self.num_started = 0
        """Processes so far: one more than died, if files are read one after the other."""
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._process_id = os.getpid()

    def __enter__(self) -> "ProcessDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that nobody uses; those in use end when their readers do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def video_header(self, path: pathlib.Path, max_pixels: int) -> video_stream.VideoHeader:
        """See `video_stream.read_video_header`.

        Raises:
            DecodingError: If its decoder crashes, or takes too long or too much.
        """
        with self._child() as child:
            found = child.ask(path, "header", max_pixels=max_pixels)["header"]
        return video_stream.VideoHeader(**{**found, "warnings": tuple(found["warnings"])})

    def video(self, path: pathlib.Path, max_pixels: int) -> FrameReader:
        """Frames of a video."""
        return _Reader(self, path, max_pixels)

    def frames_around(self, path: pathlib.Path, seconds: float, max_pixels: int) -> Iterator[tuple[float, StreamFrame]]:
        """See `video_stream.frames_around`."""
        with self._child() as child:
            child.ask(path, "around", max_pixels=max_pixels, seconds=seconds)
            while not (found := child.ask(path, "next"))["is_end"]:
                yield found["seconds"], _frame_of(child, path, found["seconds"], max_pixels)

    def photo(self, data: bytes, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
        """See `photos.decode_photo`.

        Raises:
            DecodingError: If its decoder crashes, or takes too long or too much.
        """
        with self._child() as child:
            return child.picture(path, max_pixels, "photo", data)

    @contextlib.contextmanager
    def _child(self) -> Iterator["_Child"]:
        """A process for one reader; it is kept if all went well."""
        with self._lock:
            if self._process_id != os.getpid():
                # After a fork they are those of the process before it.
                self._idle, self._process_id = [], os.getpid()
            child = self._idle.pop() if self._idle else None
            if child is None or not child.is_alive():
                child = _Child(self.limits)
                self.num_started += 1
        try:
            yield child
        except DecodingError:
            child.end()
            raise
        except (MediaError, GeneratorExit):
            # A file that is told to be damaged did no harm, nor did who wants no more of it.
            self._give_back(child)
            raise
        except BaseException:
            child.end()
            raise
        self._give_back(child)

    def _give_back(self, child: "_Child") -> None:
        try:
            child.ask(pathlib.Path(), "forget")
        except DecodingError:
            child.end()
            return
        with self._lock:
            self._idle.append(child)


@functools.cache
def shared_process_decoder() -> ProcessDecoder:
    """The one of this program: the first file starts its process, which has the usual limits and ends with it."""
    decoder = ProcessDecoder()
    atexit.register(decoder.close)
    return decoder


class _Reader:
    def __init__(self, decoder: ProcessDecoder, path: pathlib.Path, max_pixels: int) -> None:
        self._decoder, self._path, self._max_pixels = decoder, path, max_pixels
        self.num_damaged = 0
        self.end = video_stream.StreamEnd()

    def __iter__(self) -> Iterator[StreamFrame]:
        with self._decoder._child() as child:
            child.ask(self._path, "video", max_pixels=self._max_pixels)
            while True:
                found = child.ask(self._path, "next")
                self.num_damaged, self.end = found["num_damaged"], video_stream.StreamEnd(*found["end"])
                if found["is_end"]:
                    return
                yield _frame_of(child, self._path, found["seconds"], self._max_pixels)


def _frame_of(child: "_Child", path: pathlib.Path, seconds: float | None, max_pixels: int) -> StreamFrame:
    return StreamFrame(seconds=seconds, picture=lambda: child.picture(path, max_pixels, "picture"))


class _Child:
    """A process that decodes, and the thread that ends it when it takes too long."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._limits = limits
        self._deadline = math.inf
        self._is_late = self._is_ready = False
        folder = pathlib.Path(hardmo_jax.__file__).parent.parent
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        # Threads of linear algebra and arenas of the allocator take address space that pictures need.
        environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        # -P: a file in the working folder is never taken for a module.
        command = [sys.executable, "-P", "-c", _PROGRAM, str(limits.seconds), str(limits.memory_bytes)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        _widen(self._process.stdout)
        threading.Thread(target=self._watch, name="decoding-watch", daemon=True).start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # What was not written yet is for nobody.
                with contextlib.suppress(OSError):
                    pipe.close()

    def ask(self, path: pathlib.Path, do: str, data: bytes = b"", **words: Any) -> dict[str, Any]:
        """The answer to a question.

        Raises:
            MediaError: If the file is damaged.
            DecodingError: If the process ended or was ended.
        """
        question = {"do": do, "path": str(path.absolute()), "num_bytes": len(data), **words}
        try:
            stdin, stdout = self._pipes()
            if not self._is_ready:
                self._deadline = time.monotonic() + _START_SECONDS
                self._is_ready = stdout.readline(_MAX_LINE) == decoding_child.READY
            self._deadline = time.monotonic() + self._limits.seconds
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.write(data)
            stdin.flush()
            line = stdout.readline(_MAX_LINE)
        except OSError:
            line = b""
        finally:
            self._deadline = math.inf
        if not line.endswith(b"\n"):
            raise DecodingError(f"{path}: {self._end_of_process()}")
        answer = json.loads(line)
        if answer.get("memory"):
            raise DecodingError(f"{path}: {self._too_much()}")
        if "error" in answer:
            # It was asked by the absolute path; people are told the one they gave.
            raise MediaError(str(answer["error"]).replace(str(path.absolute()), str(path), 1))
        return answer

    def picture(self, path: pathlib.Path, max_pixels: int, do: str, data: bytes = b"") -> UInt8[np.ndarray, "H W 3"]:
        """The picture that is the answer to a question."""
        height, width, channels = self.ask(path, do, data, max_pixels=max_pixels)["shape"]
        if channels != 3 or not 0 < height * width <= max_pixels:
            raise DecodingError(f"{path}: its decoder gave {height} x {width} x {channels} values, which is no picture")
        image = np.empty((height, width, 3), np.uint8)
        rest = image.reshape(-1).data
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            _, stdout = self._pipes()
            while len(rest) and (count := stdout.readinto(rest)):
                rest = rest[count:]
        finally:
            self._deadline = math.inf
        if len(rest):
            raise DecodingError(f"{path}: {self._end_of_process()}")
        return image

    def _pipes(self) -> tuple[Any, Any]:
        return self._process.stdin, self._process.stdout

    def _end_of_process(self) -> str:
        """Why the process ended, for the user."""
        try:
            # One that ended by itself takes a moment to say how.
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        advice = "the file is damaged or made to harm; leave it out"
        if not self._is_ready:
            return f"the process that decodes did not start (status {status}); is the installation whole?"
        if self._is_late or (hasattr(signal, "SIGALRM") and status == -signal.SIGALRM):
            return f"decoding took longer than {self._limits.seconds:g} s; {advice}"
        if status in (-signal.SIGABRT, 134):
            return f"its decoder gave up, as it does when it may not have more memory; {advice}"
        name = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"its decoder crashed ({name}); {advice}"

    def _too_much(self) -> str:
        allowed = self._limits.memory_bytes / 2**30
        return (
            f"decoding needs more than {allowed:.1f} GiB; make the picture smaller, or allow more "
            "(`DecodingLimits.memory_bytes`)"
        )

    def _watch(self) -> None:
        while self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self._is_late = True
                self._process.kill()
                return
            time.sleep(_LOOK_EVERY)


def _widen(pipe: Any) -> None:
    """Let a pipe hold more, where that can be done."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
