"""Ctrl-C that waits for the end of a step, so that what was learnt is kept."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Let an interrupt wait while the block runs: a step may have taken its state over and not yet given the next.

    What handled the signal before is called at once and may say what it likes; the `KeyboardInterrupt` that it raises
    is held back. A second one is raised where it comes. Outside the main thread, which signals come to, nothing is
    changed.

    Yields:
        Whether there was one; who asks keeps what it has and raises `KeyboardInterrupt`.
    """
    told: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        # What is no function of Python's ends the process, or is ignored.
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in handlers.items() if callable(handler)}

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            before[signal.Signals(number)](number, frame)
        except KeyboardInterrupt:
            if told:
                raise
            told.append(number)

    for number in before:
        signal.signal(number, hold)
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            # A handler may have put another one in its place.
            if signal.getsignal(number) is hold:
                signal.signal(number, handler)
