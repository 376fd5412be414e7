"""Fits within what a network takes to be likely: the pose is noise that a flow turns into rotations.

Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021, section 3.6: with the pose p as a
function of noise z, which is normal, the density of the pose given the picture is |z|^2 up to a constant. Minimised
over z, betas and the translation is, person by person,

    (1000 / side)^2 sum_k c_k^2 sum_xy rho(projected_k - keypoint_k)  +  4^2 |z|^2  +  6^2 |betas|^2,
    rho(e) = s^2 e^2 / (s^2 + e^2),  s = 100 pixels,

with the longer side of the picture in pixels and confidences c_k, which are taken for zero at the hips.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.landmarks import PointModel, point_model
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import cameras, crop_cameras, rotations
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks import regressor_output
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.skeleton import layouts

#: Points that annotators and detectors put elsewhere than the body has them: published fits leave them out.
_HIP_WORDS = ("hip", "pelvis")
#: Longer side of a picture in which a pixel weighs one, pixels.
_USUAL_SIDE = 1000.0
#: Steps that the direction remembers, as many as PyTorch's.
_MEMORY = 100
#: Rotations of SMPL, the root's among them.
_SMPL_JOINTS = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowFittingOptions:
    """What is weighed how, and when it is enough; the default is the published objective."""

    robust_scale: float = 100.0
    """Of distances in the picture, pixels: beyond it they count ever less."""
    pose_weight: float = 4.0
    """Of the noise."""
    shape_weight: float = 6.0
    """Of betas."""
    uses_hips: bool = False
    """Whether hips and pelvis count."""
    max_steps: int = 200
    """Steps of L-BFGS, each with a line search."""
    tolerance: float = 1e-9
    """Relative change of the objective in a step at which a person is done."""

    def __post_init__(self) -> None:
        if not self.robust_scale > 0 or self.pose_weight < 0 or self.shape_weight < 0:
            raise ValueError(f"`robust_scale` must be positive and weights not negative, got {self}")
        if self.max_steps < 1 or not self.tolerance >= 0:
            raise ValueError(f"`max_steps` must be at least 1 and `tolerance` not negative, got {self}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowVariables:
    """What is looked for, of N people."""

    noise: Float[AnyArray, "*batch F"]
    """That the flow turns into rotations; zero is the most likely pose."""
    betas: Float[AnyArray, "*batch S"]
    """Shape, standard deviations."""
    transl: Float[AnyArray, "*batch 3"]
    """Metres, frame of the picture's camera."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SeenPoints:
    """Keypoints of N people in their pictures."""

    keypoints_2d: Float[AnyArray, "*batch K 2"]
    """Pixels of the picture."""
    confidence: Float[AnyArray, "*batch K"]
    """In [0, 1]; zero for points that do not count."""
    camera: Camera
    """Of each picture. Published is a focal length of 5000 pixels and the middle of the picture (`hmr2_camera` has
    another focal length)."""
    longer_side: Float[AnyArray, "*batch"]
    """Of each picture, pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowFit:
    """N people after a fit."""

    variables: FlowVariables
    params: BodyParams
    """The same as parameters of the body."""
    objective: Float[np.ndarray, "N"]
    """What is left of it."""
    start_objective: Float[np.ndarray, "N"]
    """What it was at the start; never less than what is left."""
    steps: Int[np.ndarray, "N"]
    """Steps that were taken."""


def fit_in_flow(
    regressor: Regressor,
    features: Float[AnyArray, "N C"],
    body: BodyModel,
    seen: SeenPoints,
    start: FlowVariables,
    *,
    layout: str,
    options: FlowFittingOptions | None = None,
) -> FlowFit:
    """Fit a body to keypoints within the density of poses that a network sees in a picture.

    Args:
        regressor: ProHMR.
        features: What its backbone sees in the crops (`Prohmr.features`).
        body: SMPL with as many betas as the network has.
        seen: Keypoints. Those that are not finite, or that the body lacks, do not count.
        start: Where to begin, see `start_at_mode`.
        layout: Of the keypoints: a name in `skeleton.layouts`; published is `hmr2_44`.
        options: None takes the published ones.

    Raises:
        KeyError: If there is no such layout.
        ValueError: If the body is none of SMPL or the network has no flow, or numbers of people or points differ.

    Notes:
        Published is one L-BFGS over the people of a batch together (PyTorch's, ten rounds of twenty steps). Here
        everybody has a direction and a length of steps of their own, so that nobody's fit depends on who else is in
        the batch; the objective is the same. A fit that ends above its start is given up for the start.
    """
    options = options or FlowFittingOptions()
    points, seen = _checked_points(regressor, body, seen, start, layout, options)
    features = jnp.asarray(features)
    if features.shape[:1] != start.noise.shape[:1]:
        raise ValueError(f"features of {features.shape[0]} people do not go with {start.noise.shape[0]} starts")
    best, objective, start_objective, steps = _minimise(regressor, features, points, seen, start, options)
    return FlowFit(
        variables=jax.tree.map(np.asarray, best),
        params=jax.tree.map(np.asarray, _params_of(regressor, features, points.body, best)),
        objective=np.asarray(objective),
        start_objective=np.asarray(start_objective),
        steps=np.asarray(steps),
    )


def flow_objective(
    regressor: Regressor,
    features: Float[AnyArray, "N C"],
    body: BodyModel,
    seen: SeenPoints,
    variables: FlowVariables,
    *,
    layout: str,
    options: FlowFittingOptions | None = None,
) -> Float[Array, "N"]:
    """What `fit_in_flow` lowers, of each person; for arguments and errors see there."""
    options = options or FlowFittingOptions()
    points, seen = _checked_points(regressor, body, seen, variables, layout, options)
    return _objective_of_all(regressor, jnp.asarray(features), points, seen, variables, options)


def start_at_mode(output: RegressorOutput, box: CropBox, camera: Camera) -> FlowVariables:
    """The most likely pose, and shape and place as a network says.

    Args:
        output: Of N crops, one answer each.
        box: Of the crops, pixels of their pictures.
        camera: Of the pictures, one for all or one each.
    """
    weak_camera = jnp.asarray(output.weak_camera)
    if weak_camera.ndim != 2 or output.rot6d is None:
        raise ValueError("one answer of a network of six numbers a rotation is needed for each crop")
    rotations_of_all = jnp.asarray(output.rot6d).reshape(len(weak_camera), -1)
    return FlowVariables(
        noise=jnp.zeros_like(rotations_of_all),
        betas=jnp.asarray(output.betas),
        transl=crop_cameras.full_transl(weak_camera, box, camera),
    )


def _checked_points(
    regressor: Regressor,
    body: BodyModel,
    seen: SeenPoints,
    variables: FlowVariables,
    layout: str,
    options: FlowFittingOptions,
) -> tuple[PointModel, SeenPoints]:
    """Model of the keypoints, and keypoints of which those that do not count have no confidence."""
    if regressor.name != "prohmr":
        raise ValueError(f"a network with a flow is needed (`prohmr`), got `{regressor.name}`")
    wanted = layouts.get_layout(layout)
    if body.num_joints != _SMPL_JOINTS or body.num_betas != regressor.options.betas:
        raise ValueError(
            f"the network speaks of SMPL's {_SMPL_JOINTS} joints and {regressor.options.betas} betas; {body.name} has "
            f"{body.num_joints} joints and {body.num_betas} betas"
        )
    people = variables.noise.shape[0]
    keypoints, confidence = np.asarray(seen.keypoints_2d), np.asarray(seen.confidence)
    if keypoints.shape != (people, len(wanted.points), 2) or confidence.shape != keypoints.shape[:2]:
        raise ValueError(
            f"{people} people with {len(wanted.points)} keypoints each are needed, got keypoints of shape "
            f"{keypoints.shape} and confidences of shape {confidence.shape}"
        )
    points, has = point_model(body, wanted)
    counts = has & _counted(wanted.points, uses_hips=options.uses_hips)
    is_seen = np.isfinite(keypoints).all(-1) & np.isfinite(confidence) & (confidence > 0) & counts
    if not (np.isfinite(seen.longer_side) & (np.asarray(seen.longer_side) > 0)).all():
        raise ValueError(f"`longer_side` must be positive pixels, got {seen.longer_side}")
    dtype = body.joint_template.dtype
    camera = jax.tree.map(
        lambda leaf: jnp.broadcast_to(jnp.asarray(leaf, dtype), (people, 2)),
        Camera(focal_length=seen.camera.focal_length, principal_point=seen.camera.principal_point),
    )
    return points, SeenPoints(
        keypoints_2d=jnp.asarray(np.where(is_seen[..., None], keypoints, 0), dtype),
        confidence=jnp.asarray(np.where(is_seen, confidence, 0), dtype),
        camera=camera,
        longer_side=jnp.broadcast_to(jnp.asarray(seen.longer_side, dtype), (people,)),
    )


def _counted(names: tuple[str, ...], *, uses_hips: bool) -> Bool[np.ndarray, "K"]:
    return np.array([uses_hips or not any(word in name for word in _HIP_WORDS) for name in names])


def _params(network: Any, features: Array, body: BodyModel, variables: FlowVariables) -> BodyParams:
    """Parameters of one person."""
    matrices = regressor_output.output_of_rot6d(
        network.flow.inverse(variables.noise, features), variables.betas, variables.transl, network.layout
    )
    pose = jnp.concatenate([matrices.global_orient[None], matrices.body_pose])
    return BodyParams.from_full_pose(
        body, rotations.matrix_to_axis_angle(pose), betas=variables.betas, transl=variables.transl
    )


def _objective(
    network: Any,
    features: Array,
    points: PointModel,
    seen: SeenPoints,
    variables: FlowVariables,
    options: FlowFittingOptions,
) -> Float[Array, ""]:
    """Of one person."""
    found = points(_params(network, features, points.body, variables))
    squared = jnp.square(cameras.project_points(seen.camera, found) - seen.keypoints_2d)
    scale = options.robust_scale**2
    robust = scale * squared / (scale + squared)
    weight = jnp.square(_USUAL_SIDE / seen.longer_side * seen.confidence)
    return (
        jnp.sum(weight[:, None] * robust)
        + options.pose_weight**2 * jnp.sum(jnp.square(variables.noise))
        + options.shape_weight**2 * jnp.sum(jnp.square(variables.betas))
    )


@functools.partial(jax.jit, static_argnames="options")
def _objective_of_all(
    regressor: Regressor,
    features: Array,
    points: PointModel,
    seen: SeenPoints,
    variables: FlowVariables,
    options: FlowFittingOptions,
) -> Float[Array, "N"]:
    network = regressor.module()
    return jax.vmap(lambda *person: _objective(network, person[0], points, *person[1:], options=options))(
        features, seen, variables
    )


@jax.jit
def _params_of(regressor: Regressor, features: Array, body: BodyModel, variables: FlowVariables) -> BodyParams:
    network = regressor.module()
    return jax.vmap(lambda *person: _params(network, person[0], body, person[1]))(features, variables)


@functools.partial(jax.jit, static_argnames="options")
def _minimise(
    regressor: Regressor,
    features: Array,
    points: PointModel,
    seen: SeenPoints,
    start: FlowVariables,
    options: FlowFittingOptions,
) -> tuple[FlowVariables, Float[Array, "N"], Float[Array, "N"], Int[Array, "N"]]:
    network, dtype = regressor.module(), points.body.joint_template.dtype
    solver = optax.lbfgs(memory_size=_MEMORY)
    ends = np.cumsum([start.noise.shape[-1], start.betas.shape[-1]])

    def named(vector: Float[Array, "*batch P"]) -> FlowVariables:
        noise, betas, transl = jnp.split(vector, ends, -1)
        return FlowVariables(noise=noise, betas=betas, transl=transl)

    def of_one(
        features: Float[Array, "C"], seen: SeenPoints, first: Float[Array, "P"]
    ) -> tuple[Float[Array, "P"], Array, Array, Array]:
        def objective(vector: Float[Array, "P"]) -> Array:
            return _objective(network, features, points, seen, named(vector), options)

        value_and_gradient = optax.value_and_grad_from_state(objective)

        def step(carry: tuple) -> tuple:
            vector, state, lowest, _, count = carry
            value, gradient = value_and_gradient(vector, state=state)
            change, state = solver.update(gradient, state, vector, value=value, grad=gradient, value_fn=objective)
            now = jnp.asarray(optax.tree_utils.tree_get(state, "value"))
            is_done = ~(lowest - now > options.tolerance * jnp.abs(lowest))
            is_lower = now < lowest
            vector = jnp.where(is_lower, vector + change, vector)
            return vector, state, jnp.where(is_lower, now, lowest), is_done, count + 1

        value = objective(first)
        carry = (first, solver.init(first), value, jnp.array(False), jnp.array(0, jnp.int32))
        found = lax.while_loop(lambda carry: ~carry[3] & (carry[4] < options.max_steps), step, carry)
        return found[0], found[2], value, found[4]

    vectors = jnp.concatenate([jnp.asarray(part, dtype) for part in (start.noise, start.betas, start.transl)], -1)
    best, lowest, value, steps = jax.vmap(of_one)(features, seen, vectors)
    return named(best), lowest, value, steps
