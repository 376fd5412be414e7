"""A process of the local runner: it looks at items, or labels takes, as the runner asks it to.

What it is asked comes by its standard input, what it answers goes to its standard output, and what libraries print to
its standard error. It ends when its input does, so that none is left when the runner is killed.
"""

import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any

from hardmo_jax import options as options_module
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.messages import receive_message, send_message
from hardmo_jax.pipelines.runners.stages import Looker, SourceFacts, TakeLabeller
from hardmo_jax.pipelines.runners.take_bytes import take_of_bytes, take_to_bytes

#: Stage to which the time counts that takes become bytes and are read again.
HAND_OVER = "hand over"
#: Seconds between two messages of how far the work is.
_TELL_EVERY = 0.5
#: Of processes that look, above that of those who label.
_NICENESS = 5
_Send = Callable[..., None]


def main() -> None:
    """Serve until the input ends."""
    # The runner says when to stop; a Ctrl-C of the terminal reaches all processes of it.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Schedulers stop whole groups of processes.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    source, goal = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(header: dict[str, Any], payload: bytes = b"") -> None:
        with lock:
            send_message(goal, header, payload)

    first = receive_message(source)
    if first is None:
        return
    setting = first[0]
    _limit_memory(setting.get("memory_bytes"))
    use_compiled(setting.get("compiled"))
    options = options_module.from_mapping(AnnotateOptions, setting["options"], where="options")
    try:
        if setting["role"] == "look":
            # Those who label go first: what waits for them is held in memory.
            _be_modest()
            _look(source, send, Looker(options, setting["model_folder"], num_threads=setting["num_threads"]))
        else:
            _label(source, send, TakeLabeller(options))
    except BrokenPipeError:
        # The runner is gone; what it had is on disk.
        os._exit(0)


def _look(source: IO[bytes], send: _Send, looker: Looker) -> None:
    while (message := receive_message(source)) is not None:
        asked = message[0]
        item = JobItem(name=asked["item"], source=pathlib.Path(asked["source"]), photos=tuple(asked["photos"]))
        try:
            looked = looker.open(item)
            is_same = asked["source_sha256"] in (None, looked.source_sha256)
            skip = asked["skip_takes"] if looked.can_go_on and is_same else 0
            send({"kind": "begun", "facts": looked.facts.to_json(), "skip_takes": skip})
            for one in looked.takes(
                skip_takes=skip,
                end=asked["end"] if skip else 0,
                next_track=asked["next_track"] if skip else 0,
                report=_Teller(send),
            ):
                start = time.perf_counter()
                payload = take_to_bytes(one.take)
                seconds = {**one.seconds, HAND_OVER: time.perf_counter() - start}
                told = {"number": one.number, "end": one.end, "next_track": one.next_track, "seconds": seconds}
                send({"kind": "take", "facts": looked.facts.to_json(), **told}, payload)
            send({"kind": "looked", "told": looked.told()})
        except BrokenPipeError:
            raise
        except Exception as error:
            send({"kind": "failed", **told_failure(error)})


def _label(source: IO[bytes], send: _Send, labeller: TakeLabeller) -> None:
    send({"kind": "ready"})
    while (message := receive_message(source)) is not None:
        asked, payload = message
        try:
            facts = SourceFacts.from_json(asked["facts"])
            if asked["kind"] == "warm":
                labeller.warm_up(facts)
                send({"kind": "warm"})
                continue
            start = time.perf_counter()
            take = take_of_bytes(payload)
            seconds = {**asked["seconds"]}
            seconds[HAND_OVER] = seconds.get(HAND_OVER, 0.0) + time.perf_counter() - start
            part = labeller.label(
                facts,
                take,
                pathlib.Path(asked["path"]),
                end=asked["end"],
                next_track=asked["next_track"],
                seconds=seconds,
                report=_Teller(send),
            )
            send({"kind": "part", "part": part.to_json()})
        except BrokenPipeError:
            raise
        except Exception as error:
            send({"kind": "failed", **told_failure(error)})


def told_failure(error: Exception) -> dict[str, str]:
    """What is said of an error: one line of those that tell what to do, and where all others arose."""
    is_ours = type(error).__module__.startswith("hardmo_jax.") or isinstance(error, OSError)
    text = " ".join(str(error).split()) or type(error).__name__
    if is_ours:
        return {"reason": text, "trace": ""}
    trace = "".join(traceback.format_exception(error)[-4:])
    return {"reason": f"{type(error).__name__}: {text}", "trace": trace[-4000:]}


class _Teller:
    """Tells the runner now and then that, and how far, the work goes on."""

    def __init__(self, send: _Send) -> None:
        self._send, self._last = send, 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last >= _TELL_EVERY:
            self._last = now
            self._send({"kind": "at", "stage": stage, "done": done, "total": total})


def _be_modest() -> None:
    """Leave the cores to others where they want them."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)


def _limit_memory(num_bytes: int | None) -> None:
    """Let a file that unpacks to more than there is fail by itself, not by the machine."""
    if num_bytes is None or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        num_bytes = min(num_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, hard))


def use_compiled(folder: str | None) -> None:
    """Keep compiled programs where the runner does.

    Args:
        folder: Theirs; None leaves it to JAX.
    """
    if folder is None:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    main()
