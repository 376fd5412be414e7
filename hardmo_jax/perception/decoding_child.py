"""The process that decodes for `decoding_process`: asked on its standard input, it answers on its output.

A question is a line of JSON; behind that of a photo stand its bytes. An answer is one too; behind that of a picture
stand its pixels. The process limits itself before it decodes anything: memory by the operating system, time by an alarm
that ends it even when nobody is left to do that.
"""

import contextlib
import dataclasses
import importlib
import json
import math
import os
import pathlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from hardmo_jax.perception import decoders
from hardmo_jax.perception.photos import MediaError

#: What the process says once it can be asked.
READY = b"ready\n"
#: Behind the time after which the asker gives up, seconds.
_GRACE = 5


@dataclasses.dataclass
class _Ready:
    """A frame that was decoded."""

    answer: dict[str, Any]
    frame: decoders.StreamFrame | None
    picture: np.ndarray | None = None
    error: Exception | None = None


class _Server:
    def __init__(self, seconds: float) -> None:
        # What native code prints must not stand among the answers.
        self._output = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._input = sys.stdin.buffer
        self._seconds = math.ceil(seconds) + _GRACE
        self._decoder = decoders.InProcessDecoder()
        self._reader: decoders.FrameReader | None = None
        self._frames: Iterator[tuple[float | None, decoders.StreamFrame]] = iter(())
        self._frame: _Ready | None = None
        self._ahead: _Ready | None = None

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        # Loading takes time that is not the first file's.
        for decoder in ("av", "cv2"):
            with contextlib.suppress(ImportError):
                importlib.import_module(decoder)
        self._write(READY)
        while line := self._input.readline():
            question = json.loads(line)
            data = self._input.read(question.get("num_bytes", 0))
            _alarm(self._seconds)
            pixels: np.ndarray | None = None
            try:
                answer: dict[str, Any] = {}
                found = getattr(self, f"_do_{question['do']}")(question, data)
                if isinstance(found, np.ndarray):
                    pixels = np.ascontiguousarray(found)
                    answer["shape"] = pixels.shape
                else:
                    answer.update(found)
            except MediaError as error:
                answer = {"error": str(error)}
            except OSError as error:
                answer = {"error": f"{question['path']}: {error.strerror or error}"}
            except MemoryError:
                answer = {"memory": True}
            _alarm(0)
            self._write(json.dumps(answer).encode() + b"\n")
            if pixels is not None:
                self._write(pixels.reshape(-1).data)
                if question["do"] == "picture":
                    # Whoever wanted this picture wants the next one too, mostly, and is busy with this one.
                    self._look_ahead()

    def _write(self, data: bytes | memoryview) -> None:
        while len(data):
            data = data[self._output.write(data) :]

    def _do_header(self, question: dict[str, Any], _: bytes) -> dict[str, Any]:
        header = self._decoder.video_header(pathlib.Path(question["path"]), question["max_pixels"])
        return {"header": dataclasses.asdict(header)}

    def _do_video(self, question: dict[str, Any], _: bytes) -> dict[str, Any]:
        self._reader = reader = self._decoder.video(pathlib.Path(question["path"]), question["max_pixels"])
        self._frames = ((frame.seconds, frame) for frame in reader)
        return {}

    def _do_around(self, question: dict[str, Any], _: bytes) -> dict[str, Any]:
        self._frames = self._decoder.frames_around(
            pathlib.Path(question["path"]), question["seconds"], question["max_pixels"]
        )
        return {}

    def _do_next(self, _question: dict[str, Any], _: bytes) -> dict[str, Any]:
        # The frame before lets go of its memory first.
        self._frame = None
        ready, self._ahead = self._ahead or self._ready(), None
        if ready.error is not None and ready.frame is None:
            raise ready.error
        self._frame = ready
        return ready.answer

    def _do_picture(self, question: dict[str, Any], _: bytes) -> np.ndarray:
        if self._frame is None or self._frame.frame is None:
            raise MediaError(f"{question['path']}: a picture was asked for before its frame")
        if self._frame.error is not None:
            raise self._frame.error
        return self._frame.frame.picture() if self._frame.picture is None else self._frame.picture

    def _do_forget(self, _question: dict[str, Any], _: bytes) -> dict[str, Any]:
        self._frames, self._frame, self._ahead, self._reader = iter(()), None, None, None
        return {}

    def _ready(self) -> "_Ready":
        """The next frame, and what is to be told of it."""
        seconds, frame = next(self._frames, (None, None))
        answer: dict[str, Any] = {"is_end": frame is None, "seconds": seconds}
        if self._reader is not None:
            answer |= {"num_damaged": self._reader.num_damaged, "end": dataclasses.astuple(self._reader.end)}
        return _Ready(answer, frame)

    def _look_ahead(self) -> None:
        """Make the next frame and its picture before they are asked for; what goes wrong is told then."""
        self._frame = None
        ready = _Ready({}, None)
        _alarm(self._seconds)
        try:
            ready = self._ready()
            if ready.frame is not None:
                ready.picture = ready.frame.picture()
        except (MediaError, OSError, MemoryError) as error:
            ready.error = error
        _alarm(0)
        self._ahead = ready

    def _do_photo(self, question: dict[str, Any], data: bytes) -> np.ndarray:
        return self._decoder.photo(data, pathlib.Path(question["path"]), question["max_pixels"])


def _alarm(seconds: int) -> None:
    # Windows has none: there the asker alone ends this process.
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def serve(seconds: float, memory_bytes: int) -> None:
    """Decode for whoever is at the other end of standard input and output.

    Args:
        seconds: For one answer.
        memory_bytes: Address space; without effect where the operating system limits none.
    """
    with contextlib.suppress(ImportError):
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
            # A crash is told by its signal, not by gigabytes on the disk.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _Server(seconds).serve()
