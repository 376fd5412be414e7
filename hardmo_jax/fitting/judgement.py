"""What a fit is worth: how far its keypoints are from the measured ones, and whether it is a human being."""

from typing import Any

import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import evidence as evidence_module
from hardmo_jax.fitting import objective, variables
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.solution import Solution
from hardmo_jax.geometry import cameras
from hardmo_jax.skeleton import layouts

#: Distance within which a keypoint counts as explained: box sides, and without 2D keypoints metres, and no more than
#: this share of the largest distance of a point from the first one: a body can be crumpled into any small heap.
_EXPLAINED, _EXPLAINED_3D, _EXPLAINED_SHARE = 0.05, 0.1, 0.2
#: Share of the confident keypoints that must be explained.
_LEAST_EXPLAINED = 0.7
#: What no body in front of a camera does: betas beyond this, joints this far over their limits (radians), and a
#: pelvis nearer or farther than this (metres).
_MOST_BETA, _MOST_OVERSTEP, _NEAREST, _FARTHEST = 4.5, 0.35, 0.6, 200.0


def distances(points: Float[Array, "B K 3"], evidence: Evidence) -> Float[Array, "B K"]:
    """Distance of each fitted keypoint from the measured one; box sides, or metres without 2D keypoints."""
    if evidence.keypoints_2d is None:
        return jnp.linalg.norm(points - jnp.asarray(evidence.keypoints_3d), axis=-1)
    camera = cameras.Camera(focal_length=evidence.focal_length, principal_point=evidence.principal_point)
    distance = jnp.linalg.norm(cameras.project_points(camera, points) - evidence.keypoints_2d, axis=-1)
    return distance / evidence.box_side[:, None]


def is_credible(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    vector: Float[Array, "B P"],
    distance: Float[Array, "B K"],
    judged: Bool[Array, "B K"],
) -> Bool[Array, "B"]:
    """Whether a result explains its keypoints as a human body in front of the camera.

    With enough freedom a body can be bent onto noise: a small median error alone says nothing.
    """
    has_pixels = evidence.keypoints_2d is not None
    within = _EXPLAINED if has_pixels else jnp.minimum(_EXPLAINED_3D, _EXPLAINED_SHARE * _extent(evidence, judged))
    explained = (distance < within) & judged
    share = jnp.sum(explained, -1) / jnp.maximum(jnp.sum(judged, -1), 1)
    return (share >= _LEAST_EXPLAINED) & is_possible(model, prior, vector, has_pixels=has_pixels)


def is_possible(
    model: landmarks.PointModel, prior: objective.Prior, vector: Float[AnyArray, "B P"], *, has_pixels: bool
) -> Bool[Array, "B"]:
    """Whether a result is a human body, whatever was seen of it; not if it is no number.

    Args:
        model: Its body.
        prior: For limits of joints.
        vector: As of `variables.Layout`.
        has_pixels: It is before a camera, so that it must be in front of it.
    """
    vector = jnp.asarray(vector)
    start = variables.Layout.of(model.body).pose_start
    pose, low, high = vector[:, start:], prior.low[prior.num_betas :], prior.high[prior.num_betas :]
    overstep = jnp.max(jnp.maximum(pose - high, low - pose), -1)
    # A body of fixed shape has no betas.
    is_human = (jnp.max(jnp.abs(vector[:, 6:start]), -1, initial=0) <= _MOST_BETA) & (overstep <= _MOST_OVERSTEP)
    depth = vector[:, 2] + model.body.joint_template[0, 2]
    is_in_front = (depth >= _NEAREST) & (depth <= _FARTHEST) if has_pixels else jnp.isfinite(depth)
    return is_human & is_in_front & jnp.all(jnp.isfinite(vector), -1)


def _extent(evidence: Evidence, judged: Bool[Array, "B K"]) -> Float[Array, "B 1"]:
    """Largest distance of a judged 3D keypoint from the first of them, metres."""
    points = jnp.asarray(evidence.keypoints_3d)
    first = jnp.take_along_axis(points, jnp.argmax(judged, -1)[:, None, None], 1)
    return jnp.max(jnp.where(judged, jnp.linalg.norm(points - first, axis=-1), 0), -1, keepdims=True)


def median_errors(
    distance: Float[Array, "B K"], confident: Bool[Array, "B K"], layout: layouts.KeypointLayout
) -> dict[str, Float[Array, "B"]]:
    """Median distance of the confident keypoints by part."""
    parts = evidence_module.parts_of(layout)
    return {part: _masked_median(distance, confident & jnp.asarray(parts == part)) for part in layouts.PARTS}


def _masked_median(values: Float[Array, "B K"], is_kept: Bool[Array, "B K"]) -> Float[Array, "B"]:
    """Median of the kept values of each row; NaN where none is kept."""
    return jnp.nanmedian(jnp.where(is_kept, values, jnp.nan), axis=-1)


def finish(
    model: landmarks.PointModel,
    prior: objective.Prior,
    seen: Evidence,
    solution: Solution,
    points: Float[Array, "B K 3"],
    orient: Float[Array, "B 3 3"],
    confident: Bool[Array, "B K"],
    judged: Bool[Array, "B K"],
    *,
    layout: layouts.KeypointLayout,
) -> dict[str, Any]:
    """Parameters, keypoints, status and errors of solutions."""
    vector = solution.vector
    distance = distances(points, seen)
    credible = is_credible(model, prior, seen, vector, distance, judged)
    status = jnp.where(solution.is_converged, FitStatus.CONVERGED, FitStatus.MAX_STEPS)
    status = jnp.where(credible, status, FitStatus.DIVERGED)
    is_finite = jnp.isfinite(solution.cost) & jnp.all(jnp.isfinite(vector), -1)
    status = jnp.where(is_finite, status, FitStatus.NONFINITE)
    pixels = None
    if seen.keypoints_2d is not None:
        camera = cameras.Camera(focal_length=seen.focal_length, principal_point=seen.principal_point)
        pixels = cameras.project_points(camera, points)
    return {
        "params": variables.Layout.of(model.body).to_params(vector, orient),
        "keypoints_2d": pixels,
        "keypoints_3d": points,
        "status": status.astype(jnp.int32),
        "error_by_part": median_errors(distance, confident, layout),
    }
