"""Observations made ready for a fit: checked, weighted and laid out as arrays, one row a person."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.fitting.pose_density import DensityRows
from hardmo_jax.fitting.stages import FitOptions, PartWeights
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts, regressors

#: Confidence from which a keypoint counts in the reported errors.
CONFIDENT = 0.5
#: Keypoints below it were not seen, for feet and hands by themselves.
SEEN = 0.2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class UserResidual:
    """Residuals of one's own that take part in a fit.

    They are differentiated in forward mode, a pass for each parameter, and for their rows only: a few rows cost as
    much as the fit itself, and all their derivatives are kept for every slot. Write the function outside of loops:
    every new one is a program to compile. They pull people without evidence, too.
    """

    function: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    """`function(params, joints, data)` of one person gives residuals (R,) in standard deviations; `params` are
    `BodyParams` without expression, `joints` (J, 3) is in metres in the camera frame. It must be traceable by JAX.
    `global_orient` jumps where it reaches pi, which is where people face the camera: use joints, or matrices of it."""
    data: Any = None
    """Arrays that the function needs, any pytree of them, with the batch axes of the observations in front. Fractions
    are taken in the precision of the body."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class GuessRows:
    """Guesses in terms of the vector, one row a person."""

    mean: Float[AnyArray, "*batch P"]
    """Where the guess is; zero in the turn, which starts there."""
    inverse_spread: Float[AnyArray, "*batch P"]
    """One over the standard deviation of its error; 0 for entries that it says nothing about."""
    axes: Float[AnyArray, "*batch 3 3"]
    """From the axes of the camera to those in which the spread of the turn is meant."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Observations of people, normalised and weighted: the constants of their fits. Batch axes lead."""

    keypoints_2d: Float[AnyArray, "*batch K 2"] | None
    """Pixels."""
    weight_2d: Float[AnyArray, "*batch K"] | None
    """Weight of each point's residual over its standard deviation in box sides; 0 if unused."""
    keypoints_3d: Float[AnyArray, "*batch K 3"] | None
    """Metres, camera axes."""
    weight_3d: Float[AnyArray, "*batch K"] | None
    """Weight of each point's residual over its standard deviation in metres; 0 if unused."""
    is_hand: Float[AnyArray, "*batch K"]
    """1 for finger points, else 0."""
    focal_length: Float[AnyArray, "*batch 2"]
    """Pixels."""
    principal_point: Float[AnyArray, "*batch 2"]
    """Pixels."""
    box_side: Float[AnyArray, "*batch"]
    """Pixels."""
    residuals: tuple[UserResidual, ...] = ()
    """Of the user."""
    guess: GuessRows | None = None
    """What was known before the fit, where anything was."""
    density: DensityRows | None = None
    """What a density given from outside says, where there is one."""

    def of_points(self, chosen: Bool[np.ndarray, "K"]) -> "Evidence":
        """The same people seen by some of the keypoints."""

        def rows(array: AnyArray | None) -> AnyArray | None:
            return None if array is None else array[:, chosen]

        names = ("keypoints_2d", "weight_2d", "keypoints_3d", "weight_3d", "is_hand")
        return dataclasses.replace(self, **{name: rows(getattr(self, name)) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """Evidence of people and what is known of them before the fit."""

    evidence: Evidence
    is_finite: Bool[np.ndarray, "B"]
    """Whether everything that was measured is a number."""
    is_enough: Bool[np.ndarray, "B"]
    """Whether enough was seen for a fit."""
    confident: Bool[np.ndarray, "B K"]
    """Points that count in the reported errors."""
    judged: Bool[np.ndarray, "B K"]
    """Points by which the fit is judged: body and feet, the confident ones where there are enough."""


def prepare(
    people: dict[str, np.ndarray | None],
    layout: layouts.KeypointLayout,
    is_supported: Bool[np.ndarray, "K"],
    options: FitOptions,
    dtype: np.dtype,
) -> Prepared:
    """Weighted evidence of people as `flatten` lays them out.

    Args:
        people: Measurements.
        layout: Their keypoints.
        is_supported: Keypoints that the body has.
        options: Weights and thresholds.
        dtype: Of the body.
    """
    part_weight = point_weights(layout, options.part_weights) * is_supported
    is_body = parts_of(layout) == "body"
    if not is_body.any():
        is_body = is_supported
    count = people["weight"].shape[0]  # pyright: ignore[reportOptionalMemberAccess]
    is_finite = np.ones(count, bool)
    weights, points, confident, used = {}, {}, None, None
    for suffix, spread in (("2d", options.keypoints_2d_spread), ("3d", options.keypoints_3d_spread)):
        values, confidence = people[f"points_{suffix}"], people[f"confidence_{suffix}"]
        weights[suffix] = points[suffix] = None
        if values is None or confidence is None:
            continue
        is_good = np.isfinite(values).all(-1) & np.isfinite(confidence)
        is_finite &= (is_good | (confidence == 0)).all(-1)
        is_used = is_good & is_supported & (confidence > 0) & (confidence >= options.min_confidence)
        points[suffix] = np.where(is_good[..., None], values, 0).astype(dtype)
        weights[suffix] = np.where(is_used, np.nan_to_num(confidence) * part_weight / spread, 0).astype(dtype)
        if used is None:
            used = is_used
            confident = is_used & (confidence >= CONFIDENT)
    if confident is None or used is None:
        raise ObservationError("observations hold neither 2D nor 3D keypoints")
    is_trunk = is_body | np.array([(layouts.part_of(point) or "").endswith("foot") for point in layout.points])
    has_few = np.sum(confident & is_body, -1, keepdims=True) < options.min_keypoints
    # Doubtful points count where hardly any is confident: nobody is judged by two points.
    judged = np.where(has_few, used, confident) & is_trunk
    box = people["bbox"]
    side = np.ones(count)
    if people["points_2d"] is not None:
        if box is None:
            inside = np.where(has_few, used, confident)
            seen = np.where(inside[..., None], people["points_2d"], np.nan)
            seen = np.where(np.any(inside, -1)[:, None, None], seen, 0)
            extent = np.nanmax(seen, 1) - np.nanmin(seen, 1)
        else:
            extent = box[:, 2:] - box[:, :2]
        is_finite &= np.isfinite(extent).all(-1)
        side = np.maximum(np.nan_to_num(extent).max(-1), 1.0)
    # Too few points would only bend the body towards noise: without any the fit stays at the prior.
    is_enough = np.sum(used & is_body, -1) >= options.min_keypoints
    for weight in weights.values():
        if weight is not None:
            weight[~is_enough] = 0
    ones = np.ones((count, 2))
    focal_length, principal_point = people.get("focal_length"), people.get("principal_point")
    is_hand = np.array([(layouts.part_of(point) or "").endswith("hand") for point in layout.points])
    # A layout that is all hand has nothing to be outvoted.
    is_hand = is_hand & ~is_hand.all()
    evidence = Evidence(
        is_hand=np.broadcast_to(is_hand, (count, len(layout))).astype(dtype),
        keypoints_2d=points["2d"],
        weight_2d=weights["2d"],
        keypoints_3d=points["3d"],
        weight_3d=weights["3d"],
        focal_length=(ones if focal_length is None else focal_length).astype(dtype),
        principal_point=(ones if principal_point is None else principal_point).astype(dtype),
        box_side=side.astype(dtype),
    )
    return Prepared(
        evidence=evidence,
        is_finite=is_finite,
        is_enough=is_enough,
        confident=confident,
        judged=judged,
    )


def flatten(observations: Observations) -> tuple[tuple[int, ...], dict[str, np.ndarray | None]]:
    """Batch axes, and measurements with these as one, in NumPy; everything is checked.

    Raises:
        ObservationError: If there is nothing to fit, or something has another shape or range than it should.
    """
    batch = observations.batch_shape
    layout_size = len(layouts.get_layout(observations.layout))
    count = int(np.prod(batch, dtype=int))
    people: dict[str, np.ndarray | None] = {}
    for suffix, width in (("2d", 2), ("3d", 3)):
        points = getattr(observations, f"keypoints_{suffix}")
        name = "confidence" if suffix == "2d" else "confidence_3d"
        confidence = getattr(observations, name)
        people[f"points_{suffix}"] = people[f"confidence_{suffix}"] = None
        if points is None:
            continue
        points = np.asarray(points, np.float64)
        confidence = np.ones(points.shape[:-1]) if confidence is None else np.asarray(confidence, np.float64)
        if points.shape[:-2] != batch or confidence.shape != points.shape[:-1]:
            raise ObservationError(
                f"`keypoints_{suffix}` {points.shape} and `{name}` {confidence.shape} must share "
                f"the batch axes {batch} and the number of keypoints"
            )
        if not (np.nanmin(confidence, initial=0) >= 0 and np.nanmax(confidence, initial=1) <= 1):
            raise ObservationError(
                f"`{name}` must lie in [0, 1], got {np.nanmin(confidence):g} to {np.nanmax(confidence):g}; "
                "divide detector scores by their maximum"
            )
        people[f"points_{suffix}"] = points.reshape(count, layout_size, width)
        people[f"confidence_{suffix}"] = confidence.reshape(count, layout_size)
    people["weight"] = people["confidence_2d"] if people["confidence_2d"] is not None else people["confidence_3d"]
    if people["points_2d"] is not None:
        if observations.camera is None:
            raise ObservationError(
                "2D keypoints need `camera=`; `cameras.camera_from_image_size(width, height)` makes one "
                "where only the image size is known"
            )
        for name in ("focal_length", "principal_point"):
            value = _broadcast(f"camera.{name}", getattr(observations.camera, name), batch, 2)
            if not np.isfinite(value).all() or (name == "focal_length" and np.any(value <= 0)):
                raise ObservationError(
                    "`camera` must have positive focal lengths and a finite principal point, in pixels"
                )
            people[name] = value
    box = observations.bbox
    people["bbox"] = None if box is None else _broadcast("bbox", box, batch, 4)
    return batch, people


def _broadcast(name: str, value: Array | np.ndarray, batch: tuple[int, ...], width: int) -> np.ndarray:
    """One row a person of something that may be shared between them."""
    value = np.asarray(value, np.float64)
    try:
        return np.broadcast_to(value, (*batch, width)).reshape(-1, width)
    except ValueError:
        raise ObservationError(
            f"`{name}` {value.shape} does not broadcast to {(*batch, width)}, one row a person"
        ) from None


def _is_joint_layout(layout: layouts.KeypointLayout) -> bool:
    """Whether all points are model joints, as in SMPL's own layouts."""
    return set(layout.points) <= set(layouts.SMPL_JOINTS + layouts.SMPLX_JOINTS)


def parts_of(layout: layouts.KeypointLayout) -> np.ndarray:
    """Part of each keypoint, empty for none. Joint layouts have no averages and no face: the rest is body."""
    other = "body" if _is_joint_layout(layout) else ""
    return np.array([layouts.part_of(point) or other for point in layout.points])


def point_weights(layout: layouts.KeypointLayout, weights: PartWeights) -> Float[np.ndarray, "K"]:
    """Weight of each keypoint by its part.

    Averages of other points (neck, mid-hip) add nothing and weigh zero; so do the points of the face's features,
    which a neutral face cannot meet. Places that annotators mark on the middle line (`neck_lsp`) count as body.
    """
    values = []
    is_joint_layout = _is_joint_layout(layout)
    for point in layout.points:
        part, place = layouts.part_of(point), regressors.place_of(point)
        if place in ("left_hip", "right_hip"):
            value = 1.0 if is_joint_layout else weights.hips
        elif place == "nose" or place.endswith(("_eye", "_ear")):
            value = weights.face
        elif part is None and is_joint_layout:
            value = 1.0
        elif part is None:
            value = weights.face if place in ("head_top", "head", "jaw") else weights.body if place != point else 0.0
        elif part.endswith("foot"):
            value = weights.feet
        elif part.endswith("hand"):
            value = weights.hands
        else:
            value = weights.body
        values.append(value)
    return np.array(values)
