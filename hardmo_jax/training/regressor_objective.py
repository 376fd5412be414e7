"""The loss of a regressor on a batch of crops: network, body, cameras, and the published terms of its kind."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import priors
from hardmo_jax.geometry import cameras, crop_cameras, rotations
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.crop_context import CropContext
from hardmo_jax.networks.regressor_output import RegressorOutput, rot6d_of_matrices
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import hmr2_loss, part_terms, prohmr_loss, spin_loss
from hardmo_jax.training.hmr2_loss import Hmr2LossOptions, Hmr2Target
from hardmo_jax.training.label_counts import LabelCounts, label_counts
from hardmo_jax.training.part_terms import HandTarget, PartTermOptions
from hardmo_jax.training.prohmr_loss import ProhmrLossOptions
from hardmo_jax.training.spin_loss import SpinLossOptions

_LAYOUT = layouts.get_layout("hmr2_44")
_WRISTS = _LAYOUT.indices(("right_wrist", "left_wrist"))
#: Root of the comparison in space, and hips, with SMPL's regressors and without them.
_PELVIS, _MID_HIP = _LAYOUT.index("pelvis_mpii"), _LAYOUT.index("mid_hip")
_HIPS_LSP = _LAYOUT.indices(("right_hip_lsp", "left_hip_lsp"))
_HIPS = _LAYOUT.indices(("right_hip", "left_hip"))
#: HMR's mean camera.
_USUAL_CAMERA = (0.9, 0.0, 0.0)

LossKind = Literal["hmr2", "spin", "prohmr"]
#: Published loss of each network.
LOSSES: dict[str, LossKind] = {
    "hmr": "spin",
    "hmr2": "hmr2",
    "hardmo_hmr": "hmr2",
    "cliff": "spin",
    "bedlam_cliff": "spin",
    "prohmr": "prohmr",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveOptions:
    """Weights of the terms; of the three losses the network's own counts."""

    hmr2: Hmr2LossOptions = Hmr2LossOptions()
    spin: SpinLossOptions = SpinLossOptions()
    prohmr: ProhmrLossOptions = ProhmrLossOptions()
    parts: PartTermOptions = PartTermOptions()
    num_samples: int = 2
    """Bodies a crop of a network with a density, the mode among them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """B crops with their labels."""

    image: Float[AnyArray, "B H W 3"]
    target: Hmr2Target
    hands: HandTarget
    context: CropContext


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedBody:
    """Which points of a body are compared; an argument of compiled code."""

    points: PointModel
    """Of `hmr2_44`, then fingertips."""
    has: Float[AnyArray, "54"]
    """One for points that the body has."""
    root: int = dataclasses.field(metadata={"static": True})
    hips: tuple[int, int] = dataclasses.field(metadata={"static": True})
    num_joints: int = dataclasses.field(metadata={"static": True})
    num_betas: int = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """What a network says of a batch, as it is compared."""

    output: RegressorOutput
    keypoints_2d: Float[Array, "*batch 54 2"]
    """Sides of the crop from its middle."""
    keypoints_3d: Float[Array, "*batch 54 3"]
    """Metres."""
    every: RegressorOutput | None = None
    """Of networks with a density all bodies of each crop, along a second axis, which the discriminator judges."""


def compared_body(body: BodyModel) -> ComparedBody:
    """Points of a body that losses compare.

    Args:
        body: SMPL, or the open body in the same view; SMPL-X for networks that answer with it.

    Notes:
        A body without the 19 annotated points (they need a licensed regressor) is compared by OpenPose's 25 and
        fingertips; space is then centred on OpenPose's middle of the hips.
    """
    points, has = landmarks.point_model(body, layouts.get_layout("hardmo_54"))
    is_whole = bool(has[_PELVIS])
    return ComparedBody(
        points=points,
        has=np.asarray(has, np.float32),
        root=_PELVIS if is_whole else _MID_HIP,
        hips=_HIPS_LSP if is_whole else _HIPS,  # pyright: ignore[reportArgumentType]
        num_joints=body.num_joints,
        num_betas=body.num_betas,
    )


def batch_of(sample: dict[str, np.ndarray]) -> TrainingBatch:
    """A batch of stacked arrays as losses take it; NumPy, so that turns are made matrices by the device.

    Args:
        sample: Of `data.training_batches`.
    """
    weight = sample["weight"]
    has_pose, has_betas = sample["has_pose"] * weight, sample["has_betas"] * weight
    return TrainingBatch(
        image=sample["image"],
        target=Hmr2Target(
            keypoints_2d=sample["keypoints_2d"],
            confidence_2d=sample["confidence_2d"] * weight[:, None],
            keypoints_3d=sample["keypoints_3d"],
            confidence_3d=sample["confidence_3d"] * weight[:, None],
            global_orient=_matrices(sample["global_orient"]),
            body_pose=_matrices(sample["body_pose"]),
            betas=sample["betas"],
            has_global_orient=has_pose,
            has_body_pose=has_pose,
            has_betas=has_betas,
        ),
        hands=HandTarget(
            keypoints_2d=sample["fingertips_2d"],
            confidence_2d=sample["fingertips_confidence_2d"] * weight[:, None],
            keypoints_3d=sample["fingertips_3d"],
            confidence_3d=sample["fingertips_confidence_3d"] * weight[:, None],
        ),
        context=CropContext(
            box=CropBox(center=sample["box_center"], size=sample["box_size"]),
            image_size=sample["image_size"],
            focal_length=sample["focal_length"],
        ),
    )


def _matrices(axis_angle: np.ndarray) -> np.ndarray:
    """Rotation matrices, float32."""
    turned = Rotation.from_rotvec(axis_angle.reshape(-1, 3).astype(np.float64)).as_matrix()
    return turned.reshape(*axis_angle.shape[:-1], 3, 3).astype(np.float32)


def bodies_in_crops(
    output: RegressorOutput, regressor: Regressor, body: ComparedBody, context: CropContext
) -> Compared:
    """Keypoints of a network's bodies in their crops and in space.

    Args:
        output: One body a crop, or several along a second axis.
        regressor: The network.
        body: Of the comparison.
        context: Where crops lie; networks that see the picture answer before its camera.

    Raises:
        ValueError: If the body has fewer joints than the network turns, or another number of betas.
    """
    turned = jnp.concatenate([output.global_orient[..., None, :, :], output.body_pose], -3)
    batch, joints = turned.shape[:-3], turned.shape[-3]
    if joints > body.num_joints or output.betas.shape[-1] > body.num_betas:
        raise ValueError(
            f"the network turns {joints} joints and has {output.betas.shape[-1]} betas, the body has {body.num_joints} "
            f"and {body.num_betas}: networks answer with SMPL (or the open body as `smpl`), or with SMPL-X"
        )
    still = jnp.broadcast_to(jnp.eye(3, dtype=turned.dtype), (*batch, body.num_joints - joints, 3, 3))
    none = jnp.zeros((*batch, body.num_betas - output.betas.shape[-1]), output.betas.dtype)
    points = body.points.of_matrices(jnp.concatenate([turned, still], -3), jnp.concatenate([output.betas, none], -1))
    if regressor.sees_picture:
        size = jnp.asarray(context.image_size)
        focal = jnp.broadcast_to(jnp.asarray(context.focal_length)[:, None], size.shape)
        camera = cameras.Camera(focal_length=focal, principal_point=0.5 * size)
        placed = points + crop_cameras.full_transl(output.weak_camera, context.box, camera)[..., None, :]
        pixels = cameras.project_points(camera, placed)
        seen = crop_cameras.crop_from_full(pixels, context.box)
    else:
        height = regressor.crop_shape[0]
        transl = crop_cameras.crop_transl(output.weak_camera, crop_size=height)
        seen = crop_cameras.project_to_crop(points, transl, crop_size=height)
    return Compared(output=output, keypoints_2d=seen, keypoints_3d=points)


def loss_of_batch(
    regressor: Regressor,
    body: ComparedBody,
    batch: TrainingBatch,
    key: AnyArray,
    options: ObjectiveOptions,
    *,
    is_training: bool = True,
    counts: LabelCounts | None = None,
) -> tuple[Float[Array, ""], dict[str, Array], Compared, Any]:
    """The loss of a network without its adversarial term.

    Bodies that ProHMR draws are by what its flow remembers of batches, densities of labels by the batch itself; in the
    published code both are by the batch. Its ActNorm layers are not started from the first batch.

    Args:
        regressor: The network with its weights.
        body: Of the comparison.
        batch: Crops and labels.
        key: Of what is drawn.
        options: Weights.
        is_training: Whether batches are normalised by themselves, and remembered.
        counts: Of the whole batch, where this is a part of it; see `counts_of_batch`.

    Returns:
        The loss, its terms by name without their weights, what the network says (of several bodies the most likely
        one), and its weights with what it remembers of the batch.
    """
    kind = LOSSES[regressor.name]
    network: Any = regressor.module()
    training = {} if regressor.name == "hmr2" else {"is_training": is_training}
    target = _believed(batch.target, body, options.parts, kind)
    if kind == "prohmr":
        compared, terms = _prohmr(network, regressor, body, batch, target, key, options, training, counts)
        loss = prohmr_loss.prohmr_sum(terms, options.prohmr)
    else:
        told = (batch.context,) if regressor.sees_picture else ()
        compared = bodies_in_crops(network(batch.image, *told, **training), regressor, body, batch.context)
        seen = part_terms.above_noise(compared.keypoints_2d[:, :44], target.keypoints_2d, options.parts)
        points, target = compared.keypoints_3d[:, :44], _of_network(target, compared.output)
        output = dataclasses.replace(compared.output, betas=compared.output.betas[:, : target.betas.shape[-1]])
        if kind == "hmr2":
            terms = hmr2_loss.hmr2_terms(output, seen, points, target, root=body.root)
            loss = hmr2_loss.weighted_sum(terms, options.hmr2)
        else:
            terms = spin_loss.spin_terms(
                output, seen, points, target, hips=body.hips, openpose=options.spin.openpose, counts=counts
            )
            loss = spin_loss.spin_sum(terms, options.spin)
    weights = {name: getattr(options.parts, name) for name in ("hand_keypoints_2d", "hand_keypoints_3d")}
    hands = _hands(compared, batch, body, options.parts) if any(weights.values()) else {}
    if kind != "hmr2":
        # Beside means, not sums over the batch.
        hands = {name: value / len(batch.image) for name, value in hands.items()}
    for name, value in hands.items():
        loss = loss + weights[name] * value
    return loss, terms | hands, compared, nnx.split(network)[1]


def counts_of_batch(
    batch: TrainingBatch, body: ComparedBody, options: ObjectiveOptions, kind: LossKind, *, parts: int
) -> LabelCounts:
    """What means over people are divided by in each of the parts that a batch is cut into."""
    return label_counts(_believed(batch.target, body, options.parts, kind), parts=parts)


def _believed(target: Hmr2Target, body: ComparedBody, parts: PartTermOptions, kind: LossKind) -> Hmr2Target:
    """Confidences of points that the body has, with the factors of their parts.

    In space only of people whose root is known (the hips, by SPIN's loss): from a root at zero all others are wrong.
    """
    factors = jnp.asarray(body.has)[:44] * part_terms.part_factors(parts)
    confidence_3d = jnp.asarray(target.confidence_3d)
    root = np.array(body.hips if kind == "spin" else [body.root])
    has_root = jnp.all(confidence_3d[:, root] > 0, -1, keepdims=True)
    return dataclasses.replace(
        target, confidence_2d=target.confidence_2d * factors, confidence_3d=confidence_3d * factors * has_root
    )


def _of_network(target: Hmr2Target, output: RegressorOutput) -> Hmr2Target:
    """The joints of a target that a network turns: those of SMPL-X have no hands."""
    return dataclasses.replace(target, body_pose=jnp.asarray(target.body_pose)[:, : output.body_pose.shape[-3]])


def _hands(
    compared: Compared, batch: TrainingBatch, body: ComparedBody, parts: PartTermOptions
) -> dict[str, Float[Array, ""]]:
    factors = jnp.asarray(body.has)[:44] * part_terms.part_factors(parts)
    target = batch.target
    confidence_2d, confidence_3d = target.confidence_2d * factors, target.confidence_3d * factors
    at, has = np.array([*_WRISTS, *range(44, 54)]), jnp.asarray(body.has)[44:]
    hands = dataclasses.replace(
        batch.hands,
        confidence_2d=batch.hands.confidence_2d * has,
        confidence_3d=batch.hands.confidence_3d * has,
    )
    wrists = np.array(_WRISTS)
    wanted = jnp.concatenate([jnp.asarray(target.keypoints_2d)[:, wrists], jnp.asarray(hands.keypoints_2d)], 1)
    return part_terms.hand_terms(
        part_terms.above_noise(compared.keypoints_2d[:, at], wanted, parts), compared.keypoints_3d[:, at], hands,
        target.keypoints_2d[:, wrists], target.keypoints_3d[:, wrists],
        confidence_2d[:, wrists], confidence_3d[:, wrists],
    )  # fmt: skip


def _prohmr(
    network: Any,
    regressor: Regressor,
    body: ComparedBody,
    batch: TrainingBatch,
    target: Hmr2Target,
    key: AnyArray,
    options: ObjectiveOptions,
    training: dict[str, bool],
    counts: LabelCounts | None,
) -> tuple[Compared, dict[str, Array]]:
    features = network.features(batch.image, **training)
    noise_key, sample_key = jax.random.split(key)
    count, width = features.shape[0], network.flow.features
    drawn = jax.random.normal(sample_key, (count, options.num_samples - 1, width), features.dtype)
    noise = jnp.concatenate([jnp.zeros((count, 1, width), features.dtype), drawn], 1)
    every = bodies_in_crops(network.from_noise(features, noise), regressor, body, batch.context)
    mode, samples = (jax.tree.map(lambda leaf, at=at: leaf[:, at], every.output) for at in (0, slice(1, None)))
    labelled = jnp.concatenate([target.global_orient[:, None], target.body_pose], 1)
    numbers = rot6d_of_matrices(labelled, network.layout).reshape(count, -1)
    numbers = numbers + prohmr_loss.POSE_NOISE * jax.random.normal(noise_key, numbers.shape, numbers.dtype)
    log_prob = network.flow.log_prob(numbers, features, **training)
    seen = part_terms.above_noise(every.keypoints_2d[..., :44, :], target.keypoints_2d[:, None], options.parts)
    terms = prohmr_loss.prohmr_terms(
        mode,
        samples,
        seen,
        every.keypoints_3d[..., :44, :],
        log_prob,
        target,
        root=body.root,
        counts=counts,
    )
    first = Compared(
        output=mode, keypoints_2d=every.keypoints_2d[:, 0], keypoints_3d=every.keypoints_3d[:, 0], every=every.output
    )
    return first, terms


def with_usual_start(regressor: Regressor) -> Regressor:
    """A network of random weights whose first guess is somebody usual, as published ones start at SMPL's mean.

    Args:
        regressor: Heads of which start at zeros, which are no rotations.
    """
    usual = np.concatenate([[[np.pi, 0.0, 0.0]], priors.pose_prior(layouts.SMPL_JOINTS).mean])
    matrices = rotations.axis_angle_to_matrix(jnp.asarray(usual))
    numbers = np.asarray(rot6d_of_matrices(matrices, regressor.options.rot6d_layout)).reshape(-1)
    starts = {"pose": numbers, "cam": np.array(_USUAL_CAMERA)}

    def started(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        for word, values in starts.items():
            if "init_" in name and word in name:
                return jnp.broadcast_to(jnp.asarray(values, leaf.dtype)[: leaf.shape[-1]], leaf.shape)
        return leaf

    return dataclasses.replace(regressor, weights=jax.tree_util.tree_map_with_path(started, regressor.weights))
