"""Work on several cores at once by threads that keep the settings of JAX of whoever asked for it."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setting(name: str) -> Any:
    """Value of a setting of JAX in this thread."""
    return getattr(jax.config, name)


def on_cores(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`work` of every item, on as many threads as a CPU has cores, and on one elsewhere.

    JAX keeps precision and default device by thread, so that they are handed over.
    """
    device = setting("jax_default_device")
    place = jax.devices(device)[0] if device is None or isinstance(device, str) else device
    workers = min(num_cores(), len(items)) if place.platform == "cpu" else 1
    if workers <= 1:
        return [work(item) for item in items]
    wide, precision = setting("jax_enable_x64"), setting("jax_default_matmul_precision")

    def in_settings(item: Any) -> Any:
        with jax.enable_x64(wide), jax.default_matmul_precision(precision), jax.default_device(place):
            return work(item)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(in_settings, items))
