"""The fit suite: whole fits against peers and against Adam, people a second, cost against batch size, and memory."""

import functools
import os
import pathlib
import resource
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks import contestants, fit_problems, timing

LEARNING_RATE = 0.03
#: Peers and the Adam steps their ratio is taken over. The full mesh of smplx takes a minute for a hundred.
ADAM_PEERS = {"body-models-torch": 100, "body-models-jax": 100, "smplx-torch": 10}
SCALING_BATCHES = (64, 256, 1024, 4096)
ROUNDS = 7
ALL = ("transl", "global_orient", "betas", "body_pose", "hand_pose")
#: Steps to convergence, and when a step is small.
MOST_STEPS, SMALL = 50, 1e-4


def plan(peers: tuple[str, ...], batch: int) -> list[dict[str, Any]]:
    """One process a cell."""
    measured = [peer for peer in ADAM_PEERS if peer in peers]
    cells: list[dict[str, Any]] = [{"measure": "adam", "batch": batch, "peer": peer} for peer in measured]
    cells += [{"measure": "newton_against_adam", "batch": batch}]
    cells += [{"measure": "people", "batch": batch, "all_cores": cores} for cores in (False, True)]
    largest = max(SCALING_BATCHES[-1], batch)
    return [*cells, {"measure": "scaling", "batch": largest}, {"measure": "memory", "batch": largest}]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    measure = cell.pop("measure")
    rows = {
        "adam": _adam,
        "newton_against_adam": _newton_against_adam,
        "people": _people,
        "scaling": _scaling,
        "memory": _memory,
    }[measure](models=models, **cell)
    return [{"measure": measure, **row} for row in rows]


def _adam(models: pathlib.Path, batch: int, peer: str) -> list[dict[str, object]]:
    """As many Adam steps of this package and of a peer on the same objective from the same start."""
    import jax

    from hardmo_jax.fitting import adam

    steps = ADAM_PEERS[peer]
    problem, ours = fit_problems.smpl(models, batch)
    arguments = ours.arguments(fit_problems.stages((steps, ALL)))
    solve = jax.jit(functools.partial(adam.solve, learning_rate=LEARNING_RATE, steps_per_iteration=1))
    calls = {
        contestants.OURS: lambda: jax.block_until_ready(solve(*arguments)),
        peer: contestants.CONTESTANTS[peer](models).adam(
            problem.transl, problem.keypoints_2d, steps=steps, learning_rate=LEARNING_RATE
        ),
    }
    times = timing.interleave(calls, rounds=ROUNDS)
    losses = {contestants.OURS: np.asarray(calls[contestants.OURS]().cost), peer: np.asarray(calls[peer]())}
    return [
        {
            "batch": batch,
            "name": name,
            "against": [other for other in calls if other != name],
            "steps": steps,
            **_timed(taken),
            "ours_faster": timing.ratio(taken, times[contestants.OURS]),
            **_losses(losses[name]),
        }
        for name, taken in times.items()
    ]


def _newton_against_adam(models: pathlib.Path, batch: int) -> list[dict[str, object]]:
    """Levenberg-Marquardt in stages, short and to convergence, against a thousand Adam steps: time and loss."""
    import jax

    from hardmo_jax.fitting import adam, levenberg_marquardt

    _, ours = fit_problems.smpl(models, batch)
    gather = fit_problems.stages((5, ALL), robust_pixels=1e4, prior=10.0, converged_below=1e-2)
    stages = {
        "levenberg_marquardt": gather + fit_problems.stages((6, ALL), converged_below=SMALL),
        "levenberg_marquardt converged": gather + fit_problems.stages((MOST_STEPS, ALL), converged_below=SMALL),
    }
    work = np.arange(batch, dtype=np.int32)
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    newton = jax.jit(
        functools.partial(
            levenberg_marquardt.solve, slots=min(batch, _slots()), is_one_by_one=jax.default_backend() == "cpu"
        ),
        compiler_options=options,
    )
    first_order = jax.jit(functools.partial(adam.solve, learning_rate=LEARNING_RATE, steps_per_iteration=1))

    def call(solve: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(solve(*arguments))

    calls = {name: call(newton, *ours.arguments(rows), work, np.int32(batch)) for name, rows in stages.items()}
    calls["adam 1000"] = call(first_order, *ours.arguments(fit_problems.stages((1000, ALL))))
    times = timing.interleave(calls, rounds=ROUNDS)
    return [
        {
            "batch": batch,
            "name": name,
            **_timed(taken),
            "share_of_adam_time": timing.ratio(taken, times["adam 1000"]),
            **_losses(np.asarray(calls[name]().cost)),
        }
        for name, taken in times.items()
    ]


def _slots() -> int:
    import jax

    return 16 if jax.default_backend() == "cpu" else 4096


def _fit(batch: int) -> Callable[[], Any]:
    """`hm.fit` of people from a start without pose or shape until they have converged, or 50 steps."""
    import jax

    import hardmo_jax as hm
    from hardmo_jax.fitting.stages import Stage

    body, observations, initial = fit_problems.whole_body(batch)
    options = hm.FitOptions(refine=(Stage(iterations=MOST_STEPS, converged_below=SMALL),))
    return lambda: jax.block_until_ready(hm.fit(body, observations, options=options, initial=initial))


def _people(models: pathlib.Path, batch: int, all_cores: bool) -> list[dict[str, object]]:
    """People a second."""
    del models
    fit = _fit(batch)
    times = timing.interleave({"fit": fit}, rounds=ROUNDS)["fit"]
    result = fit()
    history = np.asarray(result.loss_history)
    return [
        {
            "batch": batch,
            "name": contestants.OURS,
            "cores": len(os.sched_getaffinity(0)),
            "all_cores": all_cores,
            **_timed(times),
            "people_a_second": batch / times.median,
            "most_people_a_second": batch / times.least,
            "mean_moves": float(np.mean(np.sum(np.diff(history) != 0, 1))),
            "converged": float(np.mean(np.asarray(result.status) == 0)),
            **_losses(history[:, -1]),
        }
    ]


def _scaling(models: pathlib.Path, batch: int) -> list[dict[str, object]]:
    """Seconds a person at several batch sizes, in turn."""
    del models
    batches = [*(size for size in SCALING_BATCHES if size < batch), batch]
    times = timing.interleave({str(size): _fit(size) for size in batches}, rounds=ROUNDS)
    return [
        {"batch": int(size), "name": contestants.OURS, **_timed(taken), "seconds_a_person": taken.median / int(size)}
        for size, taken in times.items()
    ]


def _memory(models: pathlib.Path, batch: int) -> list[dict[str, object]]:
    """Peak memory of this process, before the fit and after it."""
    del models
    fit = _fit(batch)
    before = _peak_gib()
    fit()
    return [{"batch": batch, "name": contestants.OURS, "gib_before": before, "peak_gib": _peak_gib()}]


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _timed(taken: timing.Times) -> dict[str, float]:
    return {"first_call_seconds": taken.first, "median_seconds": taken.median, "least_seconds": taken.least}


def _losses(loss: np.ndarray) -> dict[str, float | None]:
    """Mean, median and worst loss; None where a contestant ended in NaN, which JSON does not know."""
    if not np.isfinite(loss).all():
        return dict.fromkeys(("mean_loss", "median_loss", "worst_loss"))
    return {"mean_loss": float(loss.mean()), "median_loss": float(np.median(loss)), "worst_loss": float(loss.max())}
