"""Exemplar fine-tuning: a network is trained on for each person alone until it explains that person's keypoints.

Joo et al., "Exemplar Fine-Tuning for 3D Human Model Fitting Towards In-the-Wild 3D Human Pose Estimation", 3DV 2021.
What a network knows of poses lies in its weights: where keypoints say too little, weights that barely moved still give
a likely body, without any prior beside them. Minimised over the weights, person by person, is

    5 mean_k c_k |x_k - y_k|^2 / 2  +  0.001 mean(betas^2)  +  0.005 mean_legs |u - v|^2,

with projected keypoints x, measured ones y and their confidences c, in half sides of the box, and the directions in
the picture u, v of the shins. The answer is kept only if it is nearer to the keypoints and no shape became extreme.
"""

import dataclasses
import enum
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.crop_context import CropContext
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.networks.regressors import ARCHITECTURES, Regressor, named_weights
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.recovery.crop_keypoints import CropKeypoints, crop_keypoints, hand_shares
from hardmo_jax.recovery.regressor_body import AnsweredBody, answered_body, params_of_answers
from hardmo_jax.skeleton import layouts

#: Ends of the shins, whose directions count beside the places of points.
_SHINS = (("left_knee", "left_ankle"), ("right_knee", "right_ankle"))
#: People of whom copies of the layers are held at once, and rows of the program for fewer.
_PEOPLE_AT_ONCE, _FEW = 16, 4
#: Shorter shins in the picture have no direction, half sides of the box.
_LEAST_LENGTH = 1e-3
#: Sum of confidences below which nothing is divided by it.
_LEAST_WEIGHT = 1e-6
#: Change of rotations by a step of one in all weights, below which the rate grows no more.
_LEAST_TURN = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What is trained on, how far, and what counts."""

    layers: Literal["last", "all"] = "last"
    """`last`: those that put out rotations, betas and camera. `all`: everything after the backbone, which needs about
    a hundred times the memory."""
    step_size: float = 0.05
    """By how much Adam's first step changes the six numbers of rotations, root mean square; its rate follows from
    that. Published is the rate itself (5e-6), which means another step for every network and choice of layers."""
    max_steps: int = 50
    keypoint_weight: float = 5.0
    shape_weight: float = 1e-3
    shin_weight: float = 5e-3
    enough: float = 1e-4
    """Mean over both coordinates of squared distances of keypoints, half sides of the box, weighted by confidence, at
    which a person is done; published."""
    largest_beta: float = 2.0
    """Answers with a beta beyond this, and beyond those of the start, are not kept."""
    least_points: int = 8
    """Keypoints, those of hands aside, that must count for a person to be tried at all."""

    def __post_init__(self) -> None:
        if self.layers not in ("last", "all"):
            raise ValueError(f"`layers` must be last or all, got {self.layers!r}")
        if not self.step_size > 0 or self.max_steps < 1 or self.least_points < 1:
            raise ValueError(f"`step_size`, `max_steps` and `least_points` must be positive, got {self}")
        if min(self.keypoint_weight, self.shape_weight, self.shin_weight, self.enough, self.largest_beta) < 0:
            raise ValueError(f"weights and bounds must not be negative, got {self}")


class FinetuneStatus(enum.IntEnum):
    """What became of a person."""

    NO_BETTER = 0
    """No step was nearer to the keypoints: the answer is the network's own."""
    BETTER = 1
    """The answer is nearer to the keypoints than the network's own: all steps were taken, or those until one gave no
    numbers."""
    ENOUGH = 2
    """The answer is near enough, perhaps from the start."""
    TOO_FEW_POINTS = 3
    """Not tried."""
    NONFINITE = 4
    """The network's own answer holds numbers that are none, or projects to such: not tried."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuned:
    """N people, each by the network that was trained on for them."""

    output: RegressorOutput
    """The network's own answer where nothing better was found."""
    error: Float[np.ndarray, "N"]
    """Root of the mean squared distance of the keypoints that count, by confidence, pixels; NaN where none do."""
    start_error: Float[np.ndarray, "N"]
    """The same of the network's own answer; never less than `error`."""
    steps: Int[np.ndarray, "N"]
    """Steps until the answer that was kept; 0 for the network's own."""
    status: Int[np.ndarray, "N"]
    """`FinetuneStatus` of each."""


def finetune(
    regressor: Regressor,
    images: Float[AnyArray, "N H W 3"],
    body: BodyModel,
    observations: Observations,
    box: CropBox,
    *,
    context: CropContext | None = None,
    options: FinetuneOptions | None = None,
) -> Finetuned:
    """Train a network on for each of some people, and take its answer.

    Args:
        regressor: Any but ProHMR, whose poses are those of noise (`flow_fitting.fit_in_flow`). It is not changed.
        images: Crops, as the network takes them.
        body: Whose points are compared with the keypoints. Betas count where they are the network's.
        observations: 2D keypoints of N people with the camera of their pictures. Those that are not finite, or that
            the body lacks, do not count.
        box: Of the crops, pixels of the pictures.
        context: For networks that see the picture, see `Regressor`.
        options: None takes the defaults.

    Raises:
        ObservationError: If there are no 2D keypoints or no camera, or the body is a single hand.
        ValueError: If the network has no layers to train, or numbers of people differ.

    Notes:
        Published is the projection by the weak camera of the crop, and all layers. Here points are projected by the
        camera of the picture, as the fit that starts from the answer sees them. The mean is over keypoints that count,
        not over all, so that somebody half hidden is not done sooner. Nobody's answer depends on who else is there.
    """
    options = options or FinetuneOptions()
    if not ARCHITECTURES[regressor.name].last_layers:
        raise ValueError(
            f"{ARCHITECTURES[regressor.name].title} puts out no rotations of its own: fit its noise instead "
            "(`recovery.flow_fitting.fit_in_flow`)"
        )
    images = np.asarray(images)
    points, seen = crop_keypoints(body, observations, box)
    if len(seen.keypoints_2d) != len(images):
        raise ValueError(f"{len(images)} crops do not go with keypoints of {len(seen.keypoints_2d)} people")
    taken = answered_body(body, _joints(regressor))
    layout = layouts.get_layout(observations.layout)
    if not regressor.sees_picture:
        context = None
    if context is not None and np.shape(context.focal_length) != (len(images),):
        raise ValueError(f"one place for each of {len(images)} crops is needed, got {np.shape(context.focal_length)}")
    numbers = {name: value for name, value in dataclasses.asdict(options).items() if name != "layers"}
    pieces = []
    for first in range(0, len(images), _PEOPLE_AT_ONCE):
        here = min(len(images) - first, _PEOPLE_AT_ONCE)
        size = _PEOPLE_AT_ONCE if here > _FEW else _FEW
        rows = np.minimum(np.arange(first, first + size), len(images) - 1)
        some = jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], (images, context, seen))
        found = _finetune_some(regressor, *some, points, numbers, taken, layout, options.layers)
        pieces.append(jax.tree.map(lambda leaf, here=here: np.asarray(leaf)[:here], found))
    if not pieces:
        raise ObservationError("there is nobody to fine-tune a network for: got 0 crops")
    output, error, start_error, steps, status = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
    # From the mean over both coordinates of squares in half sides to distances in pixels.
    pixels = [np.sqrt(2 * misfit) * np.asarray(box.size) / 2 for misfit in (error, start_error)]
    return Finetuned(output=output, error=pixels[0], start_error=pixels[1], steps=steps, status=status)


def _joints(regressor: Regressor) -> int:
    """Rotations besides the root that a network gives."""
    last = ARCHITECTURES[regressor.name].last_layers[0]
    return named_weights(regressor.weights)[f"{last}.kernel"].shape[-1] // 6 - 1


def _trained_names(regressor: Regressor, layers: str) -> tuple[str, ...]:
    """Arrays that are trained on; guesses that heads start from are not."""
    last = ARCHITECTURES[regressor.name].last_layers
    prefixes = last if layers == "last" else (last[0].partition(".")[0],)
    return tuple(
        name
        for name in named_weights(regressor.weights)
        if any(name.startswith(f"{prefix}.") for prefix in prefixes) and ".init_" not in name
    )


def _with_arrays(regressor: Regressor, arrays: dict[str, Array]) -> Regressor:
    """The network with some of its arrays replaced."""
    leaves = [arrays.get(name, leaf) for name, leaf in named_weights(regressor.weights).items()]
    weights = jax.tree.unflatten(jax.tree.structure(regressor.weights), leaves)
    return dataclasses.replace(regressor, weights=weights)


def _shins(names: tuple[str, ...]) -> Int[np.ndarray, "L 2"]:
    found = [[names.index(end) for end in shin] for shin in _SHINS if set(shin) <= set(names)]
    return np.array(found, int).reshape(-1, 2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    """One person on the way."""

    arrays: Any
    adam: Any
    step: Array
    best: RegressorOutput
    least: Array
    best_step: Array
    is_done: Array


@functools.partial(jax.jit, static_argnames=("taken", "layout", "layers"))
def _finetune_some(
    regressor: Regressor,
    images: Float[Array, "N H W 3"],
    context: CropContext | None,
    seen: CropKeypoints,
    points: PointModel,
    numbers: dict[str, Any],
    taken: AnsweredBody,
    layout: layouts.KeypointLayout,
    layers: str,
) -> tuple[RegressorOutput, Array, Array, Array, Array]:
    """Answers, mean squared distance after and before (half sides of the box), steps and status."""
    names = _trained_names(regressor, layers)
    weights = named_weights(regressor.weights)
    first = {name: weights[name] for name in names}
    features = lax.stop_gradient(regressor.features(images))
    shins, adam = _shins(layout.points), optax.scale_by_adam()
    is_of_body = hand_shares(layout) == 1

    def of_one(
        features: Array, context: CropContext | None, seen: CropKeypoints
    ) -> tuple[RegressorOutput, Array, Array, Array, Array]:
        half_side = seen.box.size / 2
        count = jnp.sum((seen.confidence > 0) & is_of_body)
        share = seen.confidence / jnp.maximum(jnp.sum(seen.confidence), jnp.finfo(seen.confidence.dtype).tiny)

        def answer(arrays: dict[str, Array]) -> RegressorOutput:
            alone = jax.tree.map(lambda leaf: leaf[None], (features, context))
            return _with_arrays(regressor, arrays).from_features(*alone)

        def objective(arrays: dict[str, Array]) -> tuple[Array, tuple[Array, RegressorOutput]]:
            output = answer(arrays)
            place = jax.tree.map(lambda leaf: leaf[None], (seen.box, seen.camera))
            params, _ = params_of_answers(
                points.body,
                output,
                *place,
                taken=taken,
                told_focal_length=None if context is None else jnp.asarray(context.focal_length)[None],
            )
            found = cameras.project_points(seen.camera, points(params)[0])
            apart = (found - seen.keypoints_2d) / half_side
            misfit = jnp.sum(share[:, None] * jnp.square(apart)) / 2
            value = numbers["keypoint_weight"] * misfit + numbers["shape_weight"] * jnp.mean(jnp.square(output.betas))
            if len(shins):
                value = value + numbers["shin_weight"] * _shin_misfit(found, seen, shins)
            return value, (misfit, jax.tree.map(lambda leaf: leaf[0], output))

        evaluate = jax.value_and_grad(objective, has_aux=True)
        (_, (start_misfit, start)), gradient = evaluate(first)
        # Adam's first step has one length in every weight.
        way = jax.tree.map(jnp.sign, gradient)
        _, turned = jax.jvp(lambda arrays: answer(arrays).rot6d, (first,), (way,))
        rate = numbers["step_size"] / jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(turned))), _LEAST_TURN)
        allowed = jnp.maximum(numbers["largest_beta"], jnp.max(jnp.abs(start.betas)))
        is_usable = jnp.isfinite(start_misfit) & _is_finite(start)
        has_points = count >= numbers["least_points"]

        def step(state: _State) -> _State:
            (_, (misfit, output)), gradient = evaluate(state.arrays)
            is_sane = jnp.isfinite(misfit) & _is_finite(output)
            # The first answer is the start's up to rounding.
            is_allowed = is_sane & (jnp.max(jnp.abs(output.betas)) <= allowed)
            is_better = is_allowed & (state.step > 0) & (misfit < state.least)
            change, adam_state = adam.update(gradient, state.adam)
            return _State(
                arrays=jax.tree.map(lambda array, part: array - rate * part, state.arrays, change),
                adam=adam_state,
                step=state.step + 1,
                best=jax.tree.map(functools.partial(jnp.where, is_better), output, state.best),
                least=jnp.where(is_better, misfit, state.least),
                best_step=jnp.where(is_better, state.step, state.best_step),
                is_done=(is_allowed & (misfit <= numbers["enough"])) | ~is_sane,
            )

        state = _State(
            arrays=first,
            adam=adam.init(first),
            step=jnp.array(0),
            best=start,
            least=start_misfit,
            best_step=jnp.array(0),
            is_done=~(is_usable & has_points) | (start_misfit <= numbers["enough"]),
        )
        # The answer after the last step is looked at, too.
        state = lax.while_loop(lambda state: ~state.is_done & (state.step <= numbers["max_steps"]), step, state)
        status = jnp.select(
            [~has_points, ~is_usable, state.least <= numbers["enough"], state.best_step > 0],
            [
                FinetuneStatus.TOO_FEW_POINTS.value,
                FinetuneStatus.NONFINITE.value,
                FinetuneStatus.ENOUGH.value,
                FinetuneStatus.BETTER.value,
            ],
            FinetuneStatus.NO_BETTER.value,
        )
        nothing = jnp.where(jnp.any(seen.confidence > 0), 0, jnp.nan)
        return state.best, state.least + nothing, start_misfit + nothing, state.best_step, status

    return jax.vmap(of_one)(features, context, seen)


def _is_finite(output: RegressorOutput) -> Bool[Array, ""]:
    leaves = (output.global_orient, output.body_pose, output.betas, output.weak_camera)
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _shin_misfit(found: Float[Array, "K 2"], seen: CropKeypoints, shins: Int[np.ndarray, "L 2"]) -> Float[Array, ""]:
    """Mean squared distance of the directions of shins in the picture, of those whose ends are seen."""
    half_side = seen.box.size / 2

    def directions(points: Float[Array, "K 2"]) -> tuple[Float[Array, "L 2"], Bool[Array, "L"]]:
        ends = points[shins] / half_side
        apart = ends[:, 1] - ends[:, 0]
        squared = jnp.sum(jnp.square(apart), -1)
        has_length = squared > _LEAST_LENGTH**2
        # A root of zero has no slope.
        return apart / jnp.sqrt(jnp.where(has_length, squared, 1.0))[:, None], has_length

    (own, has_own), (measured, has_measured) = directions(found), directions(seen.keypoints_2d)
    weight = jnp.min(seen.confidence[shins], -1) * (has_own & has_measured)
    return jnp.sum(weight[:, None] * jnp.square(own - measured)) / jnp.maximum(jnp.sum(weight), _LEAST_WEIGHT)
