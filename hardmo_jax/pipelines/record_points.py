"""People of a source of labels, or what somebody predicts of them, as points that can be laid side by side."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data import training_batches
from hardmo_jax.data.training_batches import BrokenCount, SampleOptions
from hardmo_jax.data.training_records import PixelReference, TrainingDataError, TrainingRecord, TrainingSource
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.perception import crop_rules
from hardmo_jax.pipelines.set_scores import JOINTS, world_rotations
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import regressor_objective
from hardmo_jax.training.regressor_objective import ComparedBody, TrainingBatch

#: Order of all points here.
LAYOUT = layouts.get_layout("hardmo_54")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordPoints:
    """N people; what is unknown of a truth has confidence 0, what is missing of a prediction is NaN."""

    source: str
    """Where they come from, for messages and tables."""
    ids: tuple[str, ...]
    """Names of the people."""
    groups: tuple[str, ...]
    """People of one group depend on each other: those of one photo or video."""
    keypoints_2d: Float[np.ndarray, "N 54 2"]
    """Pixels of the picture."""
    confidence_2d: Float[np.ndarray, "N 54"]
    keypoints_3d: Float[np.ndarray, "N 54 3"]
    """Metres, axes of the camera."""
    confidence_3d: Float[np.ndarray, "N 54"]
    rotations: Float[np.ndarray, "N 22 3 3"]
    """Of `JOINTS`, from the axes of the rest pose to those of the camera; NaN where they are unknown."""
    box_sides: Float[np.ndarray, "N"]
    """Longer side of the box as its publisher grows boxes, pixels."""
    box_centers: Float[np.ndarray, "N 2"]
    """Their middles, pixels."""


def points_of_records(source: TrainingSource) -> RecordPoints:
    """Labels of a source as points.

    Args:
        source: Of the people.

    Raises:
        TrainingDataError: If labels of somebody are damaged, or there is nobody.
    """
    if not len(source):
        raise TrainingDataError(f"{source.name}: there is nobody in it")
    records = [source.record(row) for row in range(len(source))]
    return RecordPoints(
        source=source.name,
        ids=tuple(record.name for record in records),
        groups=tuple(record.pixels.path for record in records),
        keypoints_2d=np.stack([_with_tips(one.person.keypoints_2d, one.fingertips_2d) for one in records]),
        confidence_2d=np.stack([_with_tips(one.person.confidence, one.fingertips_confidence) for one in records]),
        keypoints_3d=np.stack([_with_tips(one.person.keypoints_3d, one.fingertips_3d) for one in records]),
        confidence_3d=np.stack([_with_tips(one.person.confidence_3d, one.fingertips_confidence_3d) for one in records]),
        rotations=np.stack([_rotations_of(record) for record in records]),
        box_sides=np.array([record.size for record in records], np.float64),
        box_centers=np.stack([np.asarray(record.center, np.float64) for record in records]),
    )


def _with_tips(points: np.ndarray, tips: np.ndarray | None) -> np.ndarray:
    tips = np.zeros((10, *points.shape[1:])) if tips is None else tips
    return np.concatenate([points, tips]).astype(np.float64)


def _rotations_of(record: TrainingRecord) -> Float[np.ndarray, "22 3 3"]:
    if not record.has_pose:
        return np.full((len(JOINTS), 3, 3), np.nan)
    turns = np.concatenate([record.person.global_orient[None], record.person.body_pose[: len(JOINTS) - 1]])
    return world_rotations(Rotation.from_rotvec(turns).as_matrix()[None])[0]


def samples_of(regressor: Regressor, options: SampleOptions | None = None) -> SampleOptions:
    """How people are cut out for a network, as `annotate` does it.

    Args:
        regressor: The network.
        options: What else is done to them.
    """
    return dataclasses.replace(
        options or SampleOptions(),
        crop_shape=regressor.crop_shape,
        stretches_contrast=crop_rules.crop_rule(regressor.name).stretches_contrast,
    )


@jax.jit
def look_at_crops(
    regressor: Regressor, body: ComparedBody, batch: TrainingBatch
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keypoints in crops (sides from the middle) and in space, and rotations relative to parents."""
    told = batch.context if regressor.sees_picture else None
    found = regressor_objective.bodies_in_crops(regressor(batch.image, told), regressor, body, batch.context)
    turns = jnp.concatenate([found.output.global_orient[:, None], found.output.body_pose[:, : len(JOINTS) - 1]], 1)
    return found.keypoints_2d, found.keypoints_3d, turns


def regress_records(
    regressor: Regressor,
    body: ComparedBody,
    source: TrainingSource,
    read_pixels: Callable[[PixelReference], np.ndarray],
    *,
    batch_size: int,
    broken: BrokenCount,
    name: str,
    on_batch: Callable[[dict[str, np.ndarray], Float[np.ndarray, "B 54 2"], int], None] | None = None,
) -> RecordPoints:
    """What a network says of the people of a source, each cut out by the box of its label.

    Args:
        regressor: The network.
        body: Its points.
        source: Of the people.
        read_pixels: RGB of a picture; raises `TrainingDataError` where it cannot be read.
        batch_size: Crops at a time.
        broken: Told of everybody; people whose pixels cannot be read are missing.
        name: Of the network, for tables.
        on_batch: Told each batch, keypoints in its crops, and how many people are done.

    Raises:
        TrainingDataError: If too many are broken, as `broken` counts, or all of them.
    """
    count = len(source)
    points_2d, points_3d = np.full((count, 54, 2), np.nan), np.full((count, 54, 3), np.nan)
    turned, done = np.full((count, len(JOINTS), 3, 3), np.nan), 0
    cut = samples_of(regressor)
    for sample in training_batches.in_order(source, read_pixels, cut, batch_size=batch_size, broken=broken):
        looked = look_at_crops(regressor, body, regressor_objective.batch_of(sample))
        found = [np.asarray(each, np.float64) for each in looked]
        own = sample["row"] >= 0
        at = sample["row"][own]
        side, middle = sample["box_size"][own], sample["box_center"][own]
        points_2d[at] = found[0][own] * side[:, None, None] + middle[:, None]
        points_3d[at], turned[at] = found[1][own], world_rotations(found[2][own])
        done += int(own.sum())
        if on_batch is not None:
            on_batch(sample, found[0], done)
    if count and not done:
        raise TrainingDataError(
            f"{source.name}: nobody's picture can be used; such as: {'; '.join(broken.reasons[:2])}"
        )
    has = np.broadcast_to(np.asarray(body.has, np.float64), (count, 54))
    records = [source.record(row) for row in range(count)]
    return RecordPoints(
        source=name,
        ids=tuple(record.name for record in records),
        groups=tuple(record.pixels.path for record in records),
        keypoints_2d=points_2d,
        confidence_2d=has.copy(),
        keypoints_3d=points_3d,
        confidence_3d=has.copy(),
        rotations=turned,
        box_sides=np.array([record.size for record in records], np.float64),
        box_centers=np.stack([np.asarray(record.center, np.float64) for record in records]),
    )
