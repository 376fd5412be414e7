"""What a network takes to be likely as a prior of the usual fit: ProHMR's density of poses given a picture.

Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021. A flow takes the rotations of a body,
six numbers each, to noise z that is normal, and changes volumes by the same factor everywhere. So the logarithm of the
density of a pose is -0.5 |z|^2 and a constant: z is a residual of 144 numbers (`fitting.pose_density`), for
Levenberg-Marquardt, any body, any keypoints and whatever else a fit knows. `flow_fitting` is the published fit, whose
unknowns are the noise.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import evidence, variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.pose_density import PoseDensity
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry import rotations
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.flows.conditional_glow import ConditionalGlow, GlowOptions
from hardmo_jax.networks.regressor_output import Rot6dLayout, rot6d_of_matrices
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery.regressor_start import RegressorStart
from hardmo_jax.skeleton import layouts

#: Published weight of the noise beside errors of keypoints in thousandths of the picture's longer side.
_PUBLISHED_WEIGHT, _PUBLISHED_SIDE = 4.0, 1000.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowPrior:
    """A network's densities of the poses of N people."""

    density: PoseDensity
    """For `hm.fit`."""
    is_usable: Bool[np.ndarray, "N"]
    """Of whom the network said something. Where its features or its most likely body were no numbers the density has
    no weight, and the usual prior stays."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Flow:
    """The flow of a network, and how rotations enter it."""

    weights: Any
    options: GlowOptions = dataclasses.field(metadata={"static": True})
    policy: ComputePolicy = dataclasses.field(metadata={"static": True})
    layout: Rot6dLayout = dataclasses.field(metadata={"static": True})
    joints: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Which of the network's joints the body has."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the network saw of people."""

    features: Float[AnyArray, "*batch C"]
    axes: Float[AnyArray, "*batch 3 3"]
    """From the axes of the picture's camera to those in which the network saw the person."""
    mode: Float[AnyArray, "*batch 24 3 3"]
    """Its most likely rotations: those of joints that the body lacks stay there."""


def flow_prior(
    regressor: Regressor,
    features: Float[AnyArray, "N C"],
    body: BodyModel,
    start: RegressorStart,
    *,
    weight: Float[AnyArray, "N"] | float,
) -> FlowPrior:
    """Densities of the poses of people as a term of their fits.

    Args:
        regressor: ProHMR.
        features: What its backbone sees in the crops (`Regressor.features`).
        body: That is fitted. Joints are matched by name: of SMPL-H and SMPL-X the fingers and the face keep their usual
            prior, and the hands, which SMPL has besides, are taken to be as the network has them.
        start: The network's answers for the same crops before the camera of the picture, which says how far people are
            turned by being beside its axis.
        weight: Of the noise, one for all or one each; 1 is the density at its word, beside keypoints with the spread
            of `FitOptions.keypoints_2d_spread`. `published_weight` gives what the published fit has.

    Returns:
        The density, and whose it is.

    Raises:
        ValueError: If the network has no flow over SMPL's rotations, or numbers of people differ.

    Notes:
        The published fit has the six numbers as they leave the flow; here they are two columns of a rotation, which
        is what a body has. Those of the mode are nearly so in a trained network, which is trained for it.
    """
    joints = len(layouts.SMPL_JOINTS)
    if regressor.name != "prohmr" or regressor.options.flow.features != 6 * joints:
        raise ValueError(f"a network with a flow over {joints} rotations is needed (`prohmr`), got `{regressor.name}`")
    features = np.asarray(features)
    count, wanted = len(start.is_usable), regressor.options.flow.context
    if features.shape != (count, wanted):
        raise ValueError(f"features of shape {(count, wanted)} are needed for {count} starts, got {features.shape}")
    is_usable = np.isfinite(features).all(-1) & start.is_usable
    features = np.where(is_usable[:, None], features, 0)
    mode = in_pieces(jax.tree_util.Partial(_mode, regressor), features)
    is_usable &= np.isfinite(mode).all((1, 2, 3))
    straight = np.eye(3, dtype=features.dtype)
    axes = straight if start.guess.axes is None else np.asarray(start.guess.axes)
    seen = _Seen(
        features=features,
        axes=np.broadcast_to(axes, (count, 3, 3)),
        mode=np.where(is_usable[:, None, None, None], mode, straight),
    )
    own = [index for index, joint in enumerate(layouts.SMPL_JOINTS) if joint in body.joint_names]
    network: Any = regressor.module()
    flow = _Flow(
        weights=nnx.split(network.flow)[1],
        options=regressor.options.flow,
        policy=regressor.policy,
        layout=regressor.options.rot6d_layout,
        joints=tuple(own),
    )
    density = PoseDensity(
        function=_noise,
        joints=tuple(layouts.SMPL_JOINTS[index] for index in own),
        data=seen,
        shared=flow,
        weight=np.where(is_usable, weight, 0),
    )
    return FlowPrior(density=density, is_usable=is_usable)


def published_weight(
    body: BodyModel,
    observations: Observations,
    longer_side: Float[AnyArray, "*#N"] | float,
    *,
    pose_weight: float = _PUBLISHED_WEIGHT,
    options: FitOptions | None = None,
) -> Float[np.ndarray, "N"]:
    """Weight of the noise that stands to keypoints in a fit as it does in ProHMR's.

    There a keypoint's error counts in thousandths of the picture's longer side and the noise four times, so that people
    who are small in their picture are held by it more. In a fit a keypoint's error counts in its standard deviation, a
    share of the person's box.

    Args:
        body: That is fitted.
        observations: 2D keypoints of N people, as they are fitted.
        longer_side: Of each picture, pixels.
        pose_weight: Published is 4.
        options: Of the fit.

    Raises:
        ObservationError: If there are no 2D keypoints.
        ValueError: If a side or the weight is not positive.

    Notes:
        What fits do besides differs: weights by part of the body, robust scales, weights by stage, and confidences that
        are cut off below `min_confidence`.
    """
    options = options or FitOptions()
    longer_side = np.asarray(longer_side)
    if not (np.isfinite(longer_side) & (longer_side > 0)).all() or not pose_weight > 0:
        raise ValueError(f"`longer_side` and `pose_weight` must be positive, got {longer_side} and {pose_weight}")
    _, people = evidence.flatten(observations)
    if people["points_2d"] is None:
        raise ObservationError("the published weight is beside keypoints in a picture, and there are no 2D keypoints")
    layout = layouts.get_layout(observations.layout)
    _, is_supported = landmarks.point_model(body, layout)
    prepared = evidence.prepare(people, layout, is_supported, options, np.dtype(np.float64))
    spread = options.keypoints_2d_spread * np.asarray(prepared.evidence.box_side) * _PUBLISHED_SIDE / longer_side
    return np.asarray(pose_weight / spread)


def guess_beside(prior: FlowPrior, guess: Guess, body: BodyModel) -> Guess:
    """A guess that leaves to the densities what they speak of; other joints, betas and people stay drawn to it."""
    layout = variables.Layout.of(body)
    names = np.repeat(np.isin(body.joint_names, prior.density.joints), 3)
    told = np.zeros(layout.size, bool)
    told[3:6], told[layout.pose_start :] = names[:3], names[3:]
    spread = np.asarray(guess.spread)
    return dataclasses.replace(guess, spread=np.where(prior.is_usable[:, None] & told, np.inf, spread))


def _noise(matrices: Float[Array, "J 3 3"], seen: _Seen, flow: _Flow) -> Float[Array, "F"]:
    """Noise that the rotations of a person stand for."""
    given = jnp.asarray(seen.mode).at[np.array(flow.joints)].set(matrices)
    # The root is the first of SMPL's joints, and every body has it.
    given = given.at[0].set(rotations.compose(jnp.asarray(seen.axes), given[0]))
    network: Any = nnx.merge(_structure(flow.options, flow.policy), flow.weights)
    noise, _ = network.forward(rot6d_of_matrices(given, flow.layout).ravel(), seen.features)
    return noise


@functools.lru_cache(maxsize=16)
def _structure(options: GlowOptions, policy: ComputePolicy) -> Any:
    """A flow without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: ConditionalGlow(options, policy=policy, rngs=nnx.Rngs(0))))[0]


@jax.jit
def _mode(regressor: Regressor, features: Float[Array, "N C"]) -> Float[Array, "N 24 3 3"]:
    """The most likely rotations of each person, in the axes in which the network saw them."""
    network: Any = regressor.module()
    output = network.from_noise(features, jnp.zeros((features.shape[0], network.flow.features), features.dtype))
    return jnp.concatenate([output.global_orient[:, None], output.body_pose], 1)
