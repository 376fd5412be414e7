"""The recover suite: people a second from 65 whole-body keypoints with a detector's noise, in turn on all cores."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from tools.benchmarks import timing

_PEOPLE = {
    "lifter": 1024,
    "lifter_with_mirror_image": 1024,
    "lifter_fit": 1024,
    "second_look": 1024,
    "multi_start": 256,
    "headings": 64,
}
_ROUNDS = 7


def plan() -> list[dict[str, Any]]:
    """One cell: all ways in turn, so that a machine whose speed drifts favours none."""
    return [{"all_cores": True}]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Time the lifter alone, the fit from its first guess, the fit of all starts, and SMPLify's headings."""
    del cell, models
    from configs import normal
    from hardmo_jax.body import load
    from hardmo_jax.data import staging, synthetic
    from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
    from hardmo_jax.recovery import lift as lifting
    from hardmo_jax.recovery.lift_and_fit import lift_and_fit
    from hardmo_jax.recovery.starts import StartOptions
    from tools import _cli

    body = load.open_body(view="smplh")
    count = max(_PEOPLE.values())
    poses = synthetic.sample_hard_poses(0, count)
    names = tuple(f"person{row}" for row in range(count))
    motion = staging.Motion(
        full_pose=poses.full_pose[:, None],
        pelvis=np.zeros((count, 1, 3)),
        styles=poses.styles,
        takes=names,
        groups=names,
        frames=np.arange(count)[:, None],
        frames_per_second=30.0,
    )
    people = staging.stage(body, motion, staging.StagingOptions(), seed=0, name="bench")

    calls, settings = {}, {}
    for name, variant in (
        ("lifter_fit", "full"),
        ("second_look", "full"),
        ("multi_start", "multi_start"),
        ("headings", "headings"),
    ):
        config: Any = normal.get_config(variant)
        start = _cli.build_options(StartOptions, config.start)
        if name == "lifter_fit":
            start = dataclasses.replace(start, hypotheses=("guess_1",), second_look=False)
        fit = _cli.build_options(VideoFitOptions, config.fit)
        some = people.select(np.arange(_PEOPLE[name])).observations()
        settings[name] = {"hypotheses": len(start.hypotheses), "steps": sum(stage.iterations for stage in fit.refine)}

        def call(some: Any = some, start: Any = start, fit: Any = fit) -> object:
            return jax.block_until_ready(lift_and_fit(body, some, start=start, options=fit).result)

        calls[name] = call
    everybody = people.select(np.arange(_PEOPLE["lifter"])).observations()
    calls["lifter"] = lambda: lifting.lift(body, everybody, mirror=False)
    calls["lifter_with_mirror_image"] = lambda: lifting.lift(body, everybody)
    found = timing.interleave(calls, rounds=_ROUNDS)
    return [
        {
            "measure": name,
            "people": _PEOPLE[name],
            **settings.get(name, {}),
            "people_a_second": _PEOPLE[name] / times.median,
            "median_seconds": times.median,
            "least_seconds": times.least,
            "first_call_seconds": times.first,
        }
        for name, times in found.items()
    ]
