"""How long a job takes by what its stages cost: a model of processes, cores and a queue, checked against runs."""

import collections
import dataclasses
from typing import Any

from tools.benchmarks.job_run import WatchedRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage costs a frame."""

    cpu_seconds: float
    """Of all cores together."""
    cores: float
    """That one process keeps busy at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Of both stages, and of what comes before them."""

    look: StageCost
    label: StageCost
    look_start_seconds: float
    """CPU time that a process which looks takes to load."""
    label_start_seconds: float
    """And one that labels, with its programs."""


def simulate(
    frames_of_items: list[int], costs: Costs, *, cores: int, lookers: int, labellers: int = 1, takes_waiting: int = 4
) -> float:
    """Seconds that a job takes.

    Processes share the cores: each is as fast as its cores allow, and slower by the same factor when all together want
    more than there are. A take is an item; one that waits for room in the queue keeps its process from the next.

    Args:
        frames_of_items: Frames of each input.
        costs: What a frame costs.
        cores: Of the machine.
        lookers: Processes that look.
        labellers: Processes that label.
        takes_waiting: Takes that may wait between the two.
    """
    todo = collections.deque(frames_of_items)
    waiting: collections.deque[int] = collections.deque()
    # Of each process: CPU seconds left of what it is at, and the frames of it; None is idle.
    look: list[list[float] | None] = [[costs.look_start_seconds, 0.0] for _ in range(lookers)]
    label: list[list[float] | None] = [[costs.label_start_seconds, 0.0] for _ in range(labellers)]
    held: list[int | None] = [None] * lookers
    now, left = 0.0, len(frames_of_items)
    while left:
        for at in range(lookers):
            if held[at] is not None and len(waiting) < takes_waiting:
                waiting.append(held[at] or 0)
                held[at] = None
            if look[at] is None and held[at] is None and todo:
                frames = todo.popleft()
                look[at] = [frames * costs.look.cpu_seconds, float(frames)]
        for at in range(labellers):
            if label[at] is None and waiting:
                frames = waiting.popleft()
                label[at] = [frames * costs.label.cpu_seconds, float(frames)]
        busy = [(work, costs.look.cores) for work in look if work] + [
            (work, costs.label.cores) for work in label if work
        ]
        wanted = sum(own for _, own in busy)
        share = min(1.0, cores / wanted)
        step = min(work[0] / (own * share) for work, own in busy)
        now += step
        for work, own in busy:
            work[0] -= step * own * share
        for at, work in enumerate(look):
            if work is not None and work[0] <= 1e-9:
                look[at] = None
                if work[1]:
                    held[at] = int(work[1])
        for at, work in enumerate(label):
            if work is not None and work[0] <= 1e-9:
                label[at] = None
                left -= work[1] > 0
    return now


def check(loop: dict[str, Any], runs: dict[str, WatchedRun]) -> list[dict[str, object]]:
    """Times that follow from the costs which the plain loop measured, beside those of runs.

    Args:
        loop: What `plain_loop` prints, with `cores`.
        runs: Of the same job, by name; those of one and two workers are compared.
    """
    items = [loop["frames"] // loop["items"]] * loop["items"]
    rows: list[dict[str, object]] = []
    for name, lookers in (("local, 1 worker", 1), ("local, 2 workers", 2)):
        threads = max(loop["cores"] // lookers, 1)
        look = StageCost(
            cpu_seconds=loop["look_cpu_seconds"], cores=min(loop["look_cpu_seconds"] / loop["look_seconds"], threads)
        )
        label = StageCost(
            cpu_seconds=loop["label_cpu_seconds"], cores=loop["label_cpu_seconds"] / loop["label_seconds"]
        )
        costs = Costs(
            look=look, label=label, look_start_seconds=loop["look_start_seconds"],
            label_start_seconds=loop["label_start_seconds"],
        )  # fmt: skip
        told = simulate(items, costs, cores=loop["cores"], lookers=lookers)
        rows.append(
            {
                "run": f"model of {name}",
                "seconds": told,
                "measured_seconds": runs[name].seconds,
                "error": told / runs[name].seconds - 1,
                "costs": dataclasses.asdict(costs),
            }
        )
    return rows
