"""Which process of a runner gets which GPU: those that label one each, those that look none, as a rule."""

import os
import pathlib
from collections.abc import Mapping

_PLACE = pathlib.Path("/proc/driver/nvidia/gpus")
#: Of a GPU's memory, for the processes that share it together.
_MEMORY_SHARE = 0.9


def visible_gpus(environment: Mapping[str, str] | None = None, place: pathlib.Path = _PLACE) -> list[str]:
    """Names of the NVIDIA GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` takes them.

    Nothing of CUDA is loaded: whoever asks need not hold a GPU.

    Args:
        environment: With what may restrict them; None is that of this process.
        place: Where the driver lists them.
    """
    environment = os.environ if environment is None else environment
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if environment.get("JAX_PLATFORMS") == "cpu":
        return []
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # CUDA takes what stands before the first number below zero.
        return names[: next((at for at, name in enumerate(names) if name in ("", "-1")), len(names))]
    try:
        return [str(number) for number in range(len(list(place.iterdir())))]
    except OSError:
        return []


def gpu_environment(number: int, count: int, gpus: list[str]) -> dict[str, str]:
    """Environment by which a process takes its GPU, or its share of one.

    Args:
        number: Of the process, from 0.
        count: Of processes.
        gpus: As `visible_gpus` names them; without any nothing is set.
    """
    if not gpus:
        return {}
    own = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
    sharing = len(range(number % len(gpus), count, len(gpus)))
    if sharing > 1:
        own["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_MEMORY_SHARE / sharing:.2f}"
    return own
