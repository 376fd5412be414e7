"""The correct suite: wrong feet, hands and limbs of which a person places points, how right they become, how fast."""

import os
import pathlib
import time
from typing import Any

import numpy as np

_PEOPLE = 60
#: What is turned, by how many degrees, and which points are placed then.
_TASKS = {
    "foot": ("ankle", (30, 90), ("big_toe", "small_toe", "heel")),
    "foot, one point": ("ankle", (30, 90), ("big_toe",)),
    "hand": ("wrist", (30, 70), ("index1", "middle1", "pinky1")),
    "leg": ("knee", (30, 60), ("knee", "ankle", "big_toe", "small_toe", "heel")),
    "arm": ("elbow", (30, 60), ("elbow", "wrist")),
}
#: Standard deviation of where a person clicks, pixels of the picture; people are some 250 pixels high there.
_CLICKS = (0.0, 0.5)


def plan() -> list[dict[str, Any]]:
    """One cell a task and precision."""
    return [
        {"task": task, "click_pixels": pixels, "people": _PEOPLE, "all_cores": True}
        for task in _TASKS
        for pixels in _CLICKS
    ]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Plant errors in people in hard poses, and place the true points."""
    del models
    import dataclasses

    import jax

    from hardmo_jax.body import landmarks, load
    from hardmo_jax.body.params import split_pose
    from hardmo_jax.data import staging, synthetic
    from hardmo_jax.geometry.cameras import Camera
    from hardmo_jax.hardcase.correct import correct
    from hardmo_jax.observations import Observations
    from hardmo_jax.skeleton import layouts

    body, rng, count = load.open_body(view="smplh"), np.random.default_rng(5), cell["people"]
    poses = synthetic.sample_hard_poses(11, count)
    motion = staging.Motion(
        full_pose=poses.full_pose[:, None], pelvis=np.zeros((count, 1, 3)), styles=poses.styles,
        takes=tuple(map(str, range(count))), groups=tuple(map(str, range(count))), frames=np.arange(count)[:, None],
        frames_per_second=30.0,
    )  # fmt: skip
    people = staging.stage(body, motion, staging.StagingOptions(), seed=3, name="correct")
    seen = people.observations()
    if seen.camera is None:
        raise RuntimeError("staged people have no camera")
    layout = layouts.get_layout(seen.layout)
    model, _ = landmarks.point_model(body, layout)
    truth = jax.tree.map(np.asarray, people.params)
    points = np.asarray(model(truth), np.float64)
    focal, centre = (np.broadcast_to(np.asarray(value), (count, 2)) for value in
                     (seen.camera.focal_length, seen.camera.principal_point))  # fmt: skip
    pixels = points[..., :2] / points[..., 2:] * focal[:, None] + centre[:, None]
    joint, degrees, placed = _TASKS[cell["task"]]
    before, after, missed, seconds = [], [], [], []
    for at in range(count):
        side = layouts.SIDES[at % 2]
        person = jax.tree.map(lambda leaf, at=at: np.asarray(leaf)[at], truth)
        whole = np.array(person.full_pose())
        axis = rng.normal(size=3)
        whole[body.joint_names.index(f"{side}_{joint}")] += (
            axis / np.linalg.norm(axis) * np.radians(rng.uniform(*degrees))
        )
        wrong = dataclasses.replace(person, global_orient=whole[0], **split_pose(body.family, whole[1:]))
        own = [layout.points.index(f"{side}_{name}") for name in placed]
        goals = {layout.points[row]: pixels[at, row] + rng.normal(size=2) * cell["click_pixels"] for row in own}
        observed = Observations(
            keypoints_2d=np.asarray(seen.keypoints_2d)[at], confidence=np.asarray(seen.confidence)[at],
            camera=Camera(focal_length=focal[at], principal_point=centre[at]), layout=seen.layout,
        )  # fmt: skip
        begun = time.perf_counter()
        found = correct(body, wrong, observed, points=goals)
        seconds.append(time.perf_counter() - begun)
        for params, errors in ((wrong, before), (found.params, after)):
            away = np.asarray(model(params), np.float64)[own] - points[at, own]
            errors.append(1e3 * float(np.linalg.norm(away, axis=1).max()))
        missed.append(max(found.pixel_errors.values()))
    return [
        {
            **{key: cell[key] for key in ("task", "click_pixels", "people")},
            "points_placed": len(placed),
            "median_before_mm": float(np.median(before)),
            "median_after_mm": float(np.median(after)),
            "share_below_5_mm": float(np.mean(np.array(after) < 5)),
            "worst_pixels_from_where_placed": float(max(missed)),
            "first_call_seconds": seconds[0],
            "warm_milliseconds": 1e3 * float(np.median(seconds[2:])),
            "warm_milliseconds_95th": 1e3 * float(np.percentile(seconds[2:], 95)),
            "load_average": os.getloadavg()[0],
        }
    ]
