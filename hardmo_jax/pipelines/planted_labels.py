"""Labels with planted errors, and what is said of their feet and hands: for the training of the scorer and its test."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data import hand_poses, staging
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.planted_errors import PlantOptions, plant, plant_stretches
from hardmo_jax.data.pose_pool import JOINTS, PosePool
from hardmo_jax.data.sampled_feet import with_sampled_feet
from hardmo_jax.fitting import limb_ends
from hardmo_jax.fitting.limb_ends import LIMB_ENDS
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts

LabelKind = Literal["truth", "pseudo"]
LABEL_KINDS: tuple[LabelKind, ...] = ("truth", "pseudo")
#: Hands that wrists are planted from.
_HANDS = 20_000
#: Shortest and longest time for which a part of a clip is wrong.
_STRETCH_SECONDS = (0.25, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedLabels:
    """Labels of N people."""

    params: BodyParams
    """With planted errors."""
    clean: BodyParams
    """Without."""
    is_planted: dict[str, Bool[np.ndarray, "N"]]
    """By part."""


def clean_labels(body: BodyModel, people: HardSet, kind: LabelKind, *, seed: int) -> BodyParams:
    """Labels before anything is planted.

    Args:
        body: Of the people.
        people: Their truth and what was seen.
        kind: The truth, or fits to what an independent detector sees of them: fits to the same keypoints that labels
            are scored by would agree with them too well.
        seed: Of that detector.
    """
    if kind == "truth":
        return jax.tree.map(np.asarray, people.params)
    other = staging.observe(people, DetectorNoise(), seed=seed, name=f"{people.name}/labelled")
    result = lift_and_fit(body, other.observations(), start=StartOptions()).result
    return jax.tree.map(np.asarray, result.params)


def planted_labels(
    body: BodyModel, clean: BodyParams, pool: PosePool, options: PlantOptions, *, seed: int, name: str
) -> PlantedLabels:
    """Labels of which some ankles and wrists are another person's.

    Args:
        body: Of the labels.
        clean: Labels without errors.
        pool: Poses that ankles are taken from; wrists come from the prior over hands.
        options: How many, how far.
        seed: Of the benchmark.
        name: Part of its randomness.
    """
    return _planted(body, clean, pool, functools.partial(plant, options=options), seed=seed, name=name)


def planted_clips(
    body: BodyModel,
    clean: BodyParams,
    pool: PosePool,
    options: PlantOptions,
    *,
    windows: Int[np.ndarray, "N"],
    frames_per_second: float,
    seed: int,
    name: str,
) -> PlantedLabels:
    """Labels of clips of which some ankles and wrists are another person's for a quarter of a second to a second.

    Args:
        body: Of the labels.
        clean: Labels without errors.
        pool: Poses that ankles are taken from; wrists come from the prior over hands.
        options: How many, how far.
        windows: Clip of each label, its frames in order.
        frames_per_second: Of the clips.
        seed: Of the benchmark.
        name: Part of its randomness.
    """
    shortest, longest = (max(round(seconds * frames_per_second), 1) for seconds in _STRETCH_SECONDS)

    def plant_clips(
        rng: np.random.Generator, rotation: Float[np.ndarray, "N 3"], others: Float[np.ndarray, "M 3"]
    ) -> tuple[Float[np.ndarray, "N 3"], Bool[np.ndarray, "N"]]:
        planted, is_planted = np.array(rotation), np.zeros(len(rotation), bool)
        for window in np.unique(windows):
            rows = np.flatnonzero(windows == window)
            planted[rows], is_planted[rows] = plant_stretches(
                rng, rotation[rows], others, options, shortest=shortest, longest=longest
            )
        return planted, is_planted

    return _planted(body, clean, pool, plant_clips, seed=seed, name=name)


def _planted(
    body: BodyModel, clean: BodyParams, pool: PosePool, plant_joint: Callable[..., Any], *, seed: int, name: str
) -> PlantedLabels:
    rng = staging.generator(seed, f"{name}/planted")
    wrists = hand_poses.sample_hand_poses(rng, _HANDS).wrists
    full_pose, is_planted = np.array(clean.full_pose()), {}
    for part in LIMB_ENDS:
        joint = limb_ends.joints_of(part)[0]
        if part.endswith("foot"):
            others = pool.body_pose[:, JOINTS.index(joint)]
        else:
            others = wrists[:, layouts.SIDES.index(part.split("_")[0])]
        place = body.joint_names.index(joint)
        full_pose[:, place], is_planted[part] = plant_joint(rng, full_pose[:, place], others)
    params = BodyParams.from_full_pose(
        body, full_pose, betas=np.asarray(clean.betas), transl=np.asarray(clean.transl), expression=clean.expression
    )
    params = jax.tree.map(lambda leaf, like: np.asarray(leaf, np.asarray(like).dtype), params, clean)
    return PlantedLabels(params=params, clean=clean, is_planted=is_planted)


def people_of_pool(body: BodyModel, pool: PosePool, count: int, *, seed: int) -> HardSet:
    """People of a pool of poses, with hands from their prior, before cameras and a detector."""
    rng = staging.generator(seed, "scorer")
    rows = rng.choice(len(pool), count, replace=len(pool) < count)
    return staging.stage(body, motion_of_pool(pool, rows, rng), staging.StagingOptions(), seed=seed, name="scorer")


def motion_of_pool(
    pool: PosePool, rows: Int[np.ndarray, "N"], rng: np.random.Generator, *, sampled_feet: float = 0.0
) -> staging.Motion:
    """Poses of a pool as single frames, with hands from their prior.

    Args:
        pool: Of bodies.
        rows: Which of them.
        rng: Of the hands and feet.
        sampled_feet: Share of people whose ankles and toes are those of written dance and martial poses instead of
            their own: on tiptoe, bent, turned in. Each foot is of another pose, and the lower one can stand.
    """
    count = len(rows)
    joints = layouts.SMPLH_JOINTS
    hands = hand_poses.sample_hand_poses(rng, count)
    full_pose = np.zeros((count, 1, len(joints), 3))
    full_pose[:, 0, : len(JOINTS)] = pool.body_pose[rows]
    full_pose[:, 0, [joints.index(f"{side}_wrist") for side in layouts.SIDES]] = hands.wrists
    full_pose[:, 0, len(JOINTS) :] = hands.fingers.reshape(count, -1, 3)
    if sampled_feet:
        is_sampled = rng.random(count) < sampled_feet
        sampled = with_sampled_feet(rng, full_pose[:, 0])
        full_pose[is_sampled, 0] = sampled[is_sampled]
    styles = tuple(pool.styles[take] for take in pool.take_of[rows])
    takes = tuple(pool.takes[take] for take in pool.take_of[rows])
    return staging.Motion(
        full_pose=full_pose,
        pelvis=np.zeros((count, 1, 3)),
        styles=styles,
        takes=takes,
        groups=tuple(map(str, range(count))),
        frames=rows[:, None],
        frames_per_second=30.0,
    )
