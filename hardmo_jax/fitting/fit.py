"""`hm.fit`: body parameters of a batch of people from their keypoints.

Staged optimisation in one compiled program: short fits from several headings, then a full fit from the best of
them. The objective is that of SMPLify (Bogo et al., ECCV 2016) with these deviations: errors are in box sides,
so weights mean the same at every resolution; feet and hands take part; the pose prior is a wide diagonal
Gaussian with joint limits instead of a mixture; and Levenberg-Marquardt with an exact Jacobian replaces dog-leg
and L-BFGS. People of a batch never influence each other.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import adam, initialise, levenberg_marquardt, objective, variables
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.stages import FitOptions, PartWeights
from hardmo_jax.geometry import cameras
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts, regressors

#: Distance within which a keypoint counts as explained: box sides, and metres without 2D keypoints.
_EXPLAINED, _EXPLAINED_3D = 0.05, 0.1
#: Share of the confident keypoints that must be explained.
_LEAST_EXPLAINED = 0.7
#: What no body in front of a camera does: betas beyond this, joints this far over their limits (radians), and a
#: pelvis nearer or farther than this (metres).
_MOST_BETA, _MOST_OVERSTEP, _NEAREST, _FARTHEST = 4.5, 0.35, 0.4, 200.0
#: Confidence from which a keypoint counts in the reported errors.
CONFIDENT = 0.5


def fit(
    body: BodyModel,
    observations: Observations,
    *,
    options: FitOptions | None = None,
    initial: BodyParams | None = None,
) -> FitResult:
    """Fit a body to the keypoints of people.

    Args:
        body: Model with landmarks (`hm.open_body()`, or a SMPL, SMPL-H or SMPL-X file). Of SMPL-X the face stays
            neutral: jaw and eyeballs where `initial` has them or at rest, expression zero.
        observations: 2D keypoints with a camera, or 3D keypoints, or both. With both the 3D points only shape
            the pose (their centre is ignored); alone they are absolute positions in the camera frame.
        options: Stages, weights, solver.
        initial: Start of the refining stages instead of the best of several headings, in the camera frame.

    Returns:
        Parameters, status and errors with the batch axes of the observations.

    Raises:
        ObservationError: If there are neither 2D nor 3D keypoints, 2D keypoints have no camera, shapes disagree, a
            confidence lies outside [0, 1], or the body lacks points to compare with.
    """
    options = options or FitOptions()
    batch, people = _flatten(observations)
    layout = layouts.get_layout(observations.layout)
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are fitted with a whole body")
    model, is_supported = landmarks.point_model(body.without_expression(), layout)
    if is_supported.sum() < options.min_keypoints:
        raise ObservationError(
            f"{body.name} has only {int(is_supported.sum())} of the points of layout {layout.name!r}; "
            "its topology has no named landmarks, or the layout is another body part's"
        )
    # Names take no part in the computation: without them bodies of one shape share one compiled program.
    anonymous = dataclasses.replace(model.body, name="", checksum="", gender="unknown", left_hand=None, right_hand=None)
    model = dataclasses.replace(model, body=anonymous)
    start = None
    if initial is not None:
        jax.eval_shape(body.joints, initial)  # parameters of another model are refused by name
        start = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (*batch, *leaf.shape[len(initial.batch_shape) :])), initial
        )
        start = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), start)
    count = int(np.prod(batch, dtype=int))
    if count == 0:
        raise ObservationError("the batch is empty: there is nobody to fit")
    pieces = []
    for first in range(0, count, options.max_batch):
        rows = slice(first, min(first + options.max_batch, count))
        pieces.append(_fit_rows(model, people, start, rows, is_supported, layout, options, body.joint_names))
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pieces)
    result = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), joined)
    camera = observations.camera
    if camera is not None:
        camera = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (*batch, 2)), camera)
    if body.num_expression:
        neutral = jnp.zeros((*batch, body.num_expression), body.joint_template.dtype)
        result["params"] = dataclasses.replace(result["params"], expression=neutral)
    return FitResult(camera=camera, **result)


def _flatten(observations: Observations) -> tuple[tuple[int, ...], dict[str, np.ndarray | None]]:
    """One batch axis, NumPy, everything checked."""
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


def _parts(layout: layouts.KeypointLayout) -> np.ndarray:
    """Part of each keypoint, empty for none. Joint layouts have no averages and no face: the rest is body."""
    other = "body" if _is_joint_layout(layout) else ""
    return np.array([layouts.part_of(point) or other for point in layout.points])


def _point_weights(layout: layouts.KeypointLayout, weights: PartWeights) -> Float[np.ndarray, "K"]:
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


def _padded_size(count: int) -> int:
    """Next power of four: one program each for a person, a group, a crowd and a full batch."""
    size = 1
    while size < count:
        size *= 4
    return size


def _fit_rows(
    model: landmarks.PointModel,
    people: dict[str, np.ndarray | None],
    start: BodyParams | None,
    rows: slice,
    is_supported: Bool[np.ndarray, "K"],
    layout: layouts.KeypointLayout,
    options: FitOptions,
    joint_names: tuple[str, ...],
) -> dict[str, object]:
    """Fit some of the people, padded so that few batch sizes are ever compiled."""
    dtype = model.body.joint_template.dtype
    count = rows.stop - rows.start
    padding = min(_padded_size(count), max(options.max_batch, count)) - count
    selected = {name: None if value is None else value[rows] for name, value in people.items()}
    evidence, is_finite, is_enough, confident, judged = _evidence(selected, layout, is_supported, options, dtype)

    def pad(leaf: np.ndarray | Array) -> Array:
        # Repeats of the first person: always a well-behaved problem if the first one is.
        return jnp.concatenate([jnp.asarray(leaf), jnp.repeat(jnp.asarray(leaf)[:1], padding, 0)])

    variable_layout = variables.Layout.of(model.body)
    prior = objective.make_prior(variable_layout, joint_names, options.joint_limit_spread, dtype)
    initial = None
    if start is not None:
        initial = jax.tree.map(lambda leaf: pad(leaf[rows].astype(dtype)), variable_layout.from_params(start))
    evidence = jax.tree.map(pad, evidence)
    solved = _solve(model, prior, evidence, pad(confident), pad(judged), initial, layout, options)
    solved = jax.tree.map(lambda leaf: leaf[:count], solved)
    status = jnp.where(jnp.asarray(is_enough), solved.pop("status"), FitStatus.NO_EVIDENCE)
    status = jnp.where(jnp.asarray(is_finite), status, FitStatus.NONFINITE)
    for name in ("keypoints_2d", "keypoints_3d"):
        if solved[name] is not None:
            solved[name] = jnp.where(jnp.asarray(is_supported)[:, None], solved[name], jnp.nan)
    return {**solved, "status": status}


def _evidence(
    people: dict[str, np.ndarray | None],
    layout: layouts.KeypointLayout,
    is_supported: Bool[np.ndarray, "K"],
    options: FitOptions,
    dtype: np.dtype,
) -> tuple[
    objective.Evidence, Bool[np.ndarray, "B"], Bool[np.ndarray, "B"], Bool[np.ndarray, "B K"], Bool[np.ndarray, "B K"]
]:
    """Weighted evidence; whether each person's input is finite, and enough; points that count in the reported
    errors, and those by which the fit is judged: body and feet, the confident ones where there are enough."""
    part_weight = _point_weights(layout, options.part_weights) * is_supported
    is_body = _parts(layout) == "body"
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
    evidence = objective.Evidence(
        is_hand=np.broadcast_to(is_hand, (count, len(layout))).astype(dtype),
        keypoints_2d=points["2d"],
        weight_2d=weights["2d"],
        keypoints_3d=points["3d"],
        weight_3d=weights["3d"],
        focal_length=(ones if focal_length is None else focal_length).astype(dtype),
        principal_point=(ones if principal_point is None else principal_point).astype(dtype),
        box_side=side.astype(dtype),
    )
    return evidence, is_finite, is_enough, confident, judged


@functools.partial(jax.jit, static_argnames=("layout", "options"))
def _solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: objective.Evidence,
    confident: Bool[Array, "B K"],
    judged: Bool[Array, "B K"],
    initial: tuple[Float[Array, "B P"], Float[Array, "B 3 3"]] | None,
    layout: layouts.KeypointLayout,
    options: FitOptions,
) -> dict[str, object]:
    """Everything that runs on the device: start, explore, choose, refine, judge."""
    variable_layout = variables.Layout.of(model.body)
    dtype = evidence.box_side.dtype
    solve = levenberg_marquardt.solve
    if options.solver == "adam":
        solve = functools.partial(
            adam.solve, learning_rate=options.learning_rate, steps_per_iteration=options.adam_steps_per_iteration
        )
    if initial is None:
        vector, orient = _explore(model, prior, evidence, layout, options, solve)
    else:
        vector, orient = initial
    schedule = objective.stage_schedule(options.refine, variable_layout, np.dtype(dtype))
    vector, history, final = solve(model, prior, evidence, schedule, orient, vector)
    points = jax.vmap(functools.partial(variables.keypoints, model))(orient, vector)
    distance = _distances(points, evidence)
    # Rows of the last stage only: costs under other weights do not compare.
    earlier = history[-min(4, options.refine[-1].iterations + 1)]
    is_converged = (earlier - final) <= options.converged_below * jnp.maximum(earlier, 1e-6)
    is_diverged = ~_is_credible(model, prior, evidence, vector, distance, judged)
    status = jnp.where(is_converged, FitStatus.CONVERGED, FitStatus.MAX_STEPS)
    status = jnp.where(is_diverged, FitStatus.DIVERGED, status)
    is_finite = jnp.isfinite(final) & jnp.all(jnp.isfinite(vector), -1)
    status = jnp.where(is_finite, status, FitStatus.NONFINITE)
    pixels = None
    if evidence.keypoints_2d is not None:
        camera = cameras.Camera(focal_length=evidence.focal_length, principal_point=evidence.principal_point)
        pixels = cameras.project_points(camera, points)
    return {
        "params": variable_layout.to_params(vector, orient),
        "keypoints_2d": pixels,
        "keypoints_3d": points,
        "status": status.astype(jnp.int32),
        "error_by_part": _median_errors(distance, confident, layout),
        "loss_history": history.T,
    }


def _explore(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: objective.Evidence,
    layout: layouts.KeypointLayout,
    options: FitOptions,
    solve: object,
) -> tuple[Float[Array, "B P"], Float[Array, "B 3 3"]]:
    """Short fits from every start; the vector and orientation of the cheapest one for each person."""
    mean = jnp.concatenate([jnp.zeros(6, prior.mean.dtype), jnp.asarray(prior.mean)])
    starts = []
    if evidence.keypoints_2d is not None:
        headings = jnp.asarray(np.arange(options.yaw_starts) * 2 * np.pi / options.yaw_starts, mean.dtype)

        def from_heading(heading, person):
            return initialise.start_from_heading(model, person, mean, layout, heading)

        over_people = jax.vmap(from_heading, in_axes=(None, 0))
        vectors, orients = jax.vmap(over_people, in_axes=(0, None))(headings, evidence)
        starts += zip(vectors, orients, strict=True)
    if evidence.keypoints_3d is not None:
        function = functools.partial(initialise.start_from_3d, model, mean=mean, layout=layout)
        starts.append(jax.vmap(function)(evidence))
    vector = jnp.concatenate([start[0] for start in starts])
    orient = jnp.concatenate([start[1] for start in starts])
    repeated = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(starts)), evidence)
    schedule = objective.stage_schedule(options.explore, variables.Layout.of(model.body), np.dtype(mean.dtype))
    vector, _, final = solve(model, prior, repeated, schedule, orient, vector)  # pyright: ignore[reportCallIssue]
    final = jnp.where(jnp.isfinite(final), final, jnp.inf).reshape(len(starts), -1)
    best = jnp.argmin(final, 0)
    people = jnp.arange(final.shape[1])
    return (
        vector.reshape(len(starts), -1, vector.shape[-1])[best, people],
        orient.reshape(len(starts), -1, 3, 3)[best, people],
    )


def _distances(points: Float[Array, "B K 3"], evidence: objective.Evidence) -> Float[Array, "B K"]:
    """Distance of each fitted keypoint from the measured one; box sides, or metres without 2D keypoints."""
    if evidence.keypoints_2d is None:
        return jnp.linalg.norm(points - jnp.asarray(evidence.keypoints_3d), axis=-1)
    camera = cameras.Camera(focal_length=evidence.focal_length, principal_point=evidence.principal_point)
    distance = jnp.linalg.norm(cameras.project_points(camera, points) - evidence.keypoints_2d, axis=-1)
    return distance / evidence.box_side[:, None]


def _is_credible(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: objective.Evidence,
    vector: Float[Array, "B P"],
    distance: Float[Array, "B K"],
    judged: Bool[Array, "B K"],
) -> Bool[Array, "B"]:
    """Whether a result explains its keypoints as a human body in front of the camera.

    With enough freedom a body can be bent onto noise: a small median error alone says nothing.
    """
    has_pixels = evidence.keypoints_2d is not None
    explained = (distance < (_EXPLAINED if has_pixels else _EXPLAINED_3D)) & judged
    share = jnp.sum(explained, -1) / jnp.maximum(jnp.sum(judged, -1), 1)
    start = variables.Layout.of(model.body).pose_start
    pose, low, high = vector[:, start:], prior.low[prior.num_betas :], prior.high[prior.num_betas :]
    overstep = jnp.max(jnp.maximum(pose - high, low - pose), -1)
    # A body of fixed shape has no betas.
    is_human = (jnp.max(jnp.abs(vector[:, 6:start]), -1, initial=0) <= _MOST_BETA) & (overstep <= _MOST_OVERSTEP)
    depth = vector[:, 2] + model.body.joint_template[0, 2]
    is_in_front = (depth >= _NEAREST) & (depth <= _FARTHEST) if has_pixels else jnp.isfinite(depth)
    return (share >= _LEAST_EXPLAINED) & is_human & is_in_front


def _median_errors(
    distance: Float[Array, "B K"], confident: Bool[Array, "B K"], layout: layouts.KeypointLayout
) -> dict[str, Float[Array, "B"]]:
    """Median distance of the confident keypoints by part."""
    parts = _parts(layout)
    return {part: _masked_median(distance, confident & jnp.asarray(parts == part)) for part in layouts.PARTS}


def _masked_median(values: Float[Array, "B K"], is_kept: Bool[Array, "B K"]) -> Float[Array, "B"]:
    """Median of the kept values of each row; NaN where none is kept."""
    return jnp.nanmedian(jnp.where(is_kept, values, jnp.nan), axis=-1)
