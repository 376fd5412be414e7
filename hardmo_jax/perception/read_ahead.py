"""Items made in a thread of their own before they are asked for, so that reading and looking go on side by side."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

_Item = TypeVar("_Item")
#: Time after which a thread that waits looks whether anybody still wants its items, seconds.
_LOOK_EVERY = 0.1


class _End:
    """Stands behind the last item, with what the thread ended by."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[_Item], count: int) -> Generator[_Item]:
    """The same items in the same order, of which up to `count` are made before they are asked for.

    The thread starts with the first item that is asked for, and ends with the last one, or when this is closed; an
    error of the items is raised where they would have been.

    Args:
        items: Only the thread touches them.
        count: Items held at once, beside one that is being made.

    Raises:
        ValueError: If `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    return _read_ahead(items, count)


def _read_ahead(items: Iterable[_Item], count: int) -> Generator[_Item]:
    ready: queue.Queue[Any] = queue.Queue(count)
    is_closed = threading.Event()

    def hand_over(item: Any) -> bool:
        while not is_closed.is_set():
            try:
                ready.put(item, timeout=_LOOK_EVERY)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not hand_over(item):
                    break
        except BaseException as caught:  # whatever it is, it is for the reader
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        hand_over(_End(error))

    # A daemon: a reader that is never closed must not keep the program from ending.
    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        is_closed.set()
        thread.join()
