"""The plain loop that runners are compared with: one process, one input after the other, one stage after the other.

python -m tools.benchmarks.plain_loop OUTPUT INPUT...

Prints what a frame costs each stage, without the first input, at which models and programs are loaded.
"""

import contextlib
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Iterator

import psutil

from configs import normal
from hardmo_jax.fitting.threads import num_cores
from hardmo_jax.labels.sharded_store import compact_labels
from hardmo_jax.perception import model_files
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners.job_items import items_of_sources
from hardmo_jax.pipelines.runners.stages import Looker, TakeLabeller
from tools import _cli


class _Meter:
    """Wall and CPU seconds of a stage, of this process and those below it."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a block."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += _cpu_seconds() - cpu


def main() -> None:
    """Label all inputs."""
    _cli.use_compilation_cache()
    output = pathlib.Path(sys.argv[1])
    options = _cli.build_options(AnnotateOptions, normal.get_config())
    options = dataclasses.replace(options, output=dataclasses.replace(options.output, overlay=False))
    items = items_of_sources([pathlib.Path(path) for path in sys.argv[2:]], options)
    looker, labeller = Looker(options, model_files.default_model_folder()), TakeLabeller(options)
    look, label = _Meter(), _Meter()
    firsts: dict[str, float] = {}
    frames, parts = 0, []
    for number, item in enumerate(items):
        looked, own = looker.open(item), []
        takes = looked.takes(report=lambda stage, done, total: None)
        while True:
            with look.at_work():
                one = next(takes, None)
            if one is None:
                break
            path = output / "parts" / item.name / f"{one.number:05d}.parquet"
            with label.at_work():
                part = labeller.label(
                    looked.facts, one.take, path, end=one.end, next_track=one.next_track, seconds=one.seconds
                )
            frames += part.num_pictures
            own.append(path)
        parts.append(own)
        if number == 0:
            firsts = {"look": look.cpu, "label": label.cpu, "frames": frames}
            look, label = _Meter(), _Meter()
    compact_labels(parts, output / "labels")
    rest = frames - firsts["frames"]
    each = {
        "look_cpu_seconds": look.cpu / rest,
        "look_seconds": look.wall / rest,
        "label_cpu_seconds": label.cpu / rest,
        "label_seconds": label.wall / rest,
    }
    starts = {
        f"{stage}_start_seconds": firsts[stage] - firsts["frames"] * each[f"{stage}_cpu_seconds"]
        for stage in ("look", "label")
    }
    print(json.dumps({"frames": frames, "items": len(items), "cores": num_cores(), **each, **starts}))


def _cpu_seconds() -> float:
    own = psutil.Process()
    times = own.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
