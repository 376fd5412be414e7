"""Live video through standard input or a named pipe."""

import contextlib
import io
import os
import select
import time
from typing import Any

from hardmo_jax.perception.live_address import LiveStreamError


class PipeInput(io.RawIOBase):
    """Standard input or a named pipe; reading ends in an error when nothing comes for long."""

    def __init__(self, path: str, stall_seconds: float, public: str) -> None:
        """Open it.

        Args:
            path: Of a named pipe; empty for standard input.
            stall_seconds: Time without anything after which reading ends in an error.
            public: Its name in messages.
        """
        super().__init__()
        self._stall_seconds, self._public = stall_seconds, public
        # Opened without waiting for a writer, which may never come.
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)) if path else os.dup(0)
        self._has_come = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As `read`, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes; none at the end.

        Raises:
            LiveStreamError: If nothing comes.
        """
        deadline = time.monotonic() + self._stall_seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._handle], [], [], 0.2)
            if not ready:
                continue
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._handle, size if size > 0 else 1 << 16)
                if data or self._has_come:
                    self._has_come = True
                    return data
            time.sleep(0.02)  # a named pipe that nobody writes to yet is at its end at once
        raise LiveStreamError(f"{self._public}: nothing came for {self._stall_seconds:g} s; what came before is kept")

    def close(self) -> None:
        """Let go of it."""
        if not self.closed:
            os.close(self._handle)
        super().close()
