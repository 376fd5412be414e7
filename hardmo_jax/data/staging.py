"""Posed people put before cameras and a detector: how a benchmark is made of motion.

Every number that a result depends on stands here or in the options: shapes, cameras, noise. Each set draws from a
generator of its own, so that adding a set changes no other.
"""

import dataclasses
import zlib

import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import landmarks, placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import detector_noise, viewpoints
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.hard_set import HardSet, body_name
from hardmo_jax.data.viewpoints import ViewpointOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts

LAYOUT = "coco_wholebody65"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """Distribution of shapes: independent normal coefficients."""

    first_spread: float = 1.06
    """Standard deviation of the first coefficient, which is size: heights of the open body are 1.70 +- 0.10 m."""
    spread: float = 1.0
    """Of all others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagingOptions:
    """How people are shown."""

    shape: ShapeOptions = ShapeOptions()
    viewpoint: ViewpointOptions = ViewpointOptions()
    noise: DetectorNoise = DetectorNoise()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
    """Poses of N people in T frames each, of SMPL-H's 52 joints; T is 1 for single frames. World axes, y up."""

    full_pose: Float[np.ndarray, "N T 52 3"]
    """Axis-angle."""
    pelvis: Float[np.ndarray, "N T 3"]
    """Place of the pelvis in the world, in leg lengths: a larger person takes larger steps."""
    styles: tuple[str, ...]
    """Kind of motion of each person."""
    takes: tuple[str, ...]
    """Take of each person."""
    groups: tuple[str, ...]
    """People of one group depend on each other."""
    frames: Int[np.ndarray, "N T"]
    """Frames in the take."""
    frames_per_second: float

    def __post_init__(self) -> None:
        people, frames = self.full_pose.shape[:2]
        if self.pelvis.shape != (people, frames, 3) or self.frames.shape != (people, frames):
            raise ValueError(
                f"`full_pose` is of {people} people in {frames} frames, `pelvis` {self.pelvis.shape} and `frames` "
                f"{self.frames.shape} are not"
            )
        if not len(self.styles) == len(self.takes) == len(self.groups) == people:
            raise ValueError(
                f"{people} people, but {len(self.styles)} styles, {len(self.takes)} takes and {len(self.groups)} groups"
            )

    def select(self, rows: Int[np.ndarray, "M"]) -> "Motion":
        """Some of the people."""
        texts = {name: tuple(getattr(self, name)[row] for row in rows) for name in ("styles", "takes", "groups")}
        arrays = {name: getattr(self, name)[rows] for name in ("full_pose", "pelvis", "frames")}
        return dataclasses.replace(self, **texts, **arrays)


def generator(seed: int, name: str) -> np.random.Generator:
    """Source of randomness of one set, independent of those of all other names."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))


def leg_length(body: BodyModel, betas: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch"]:
    """Length of the left leg from hip to ankle at rest, metres."""
    template = np.asarray(body.joint_template, np.float64)
    basis = np.asarray(body.joint_shape_basis, np.float64)[: body.num_betas]
    joints = template + np.tensordot(np.asarray(betas, np.float64), basis, 1)
    hip, knee, ankle = (joints[..., body.joint_names.index(f"left_{name}"), :] for name in ("hip", "knee", "ankle"))
    return np.asarray(np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1))


def stage(body: BodyModel, motion: Motion, options: StagingOptions, *, seed: int, name: str) -> HardSet:
    """Give each person a shape and a camera, and let a detector look.

    Args:
        body: SMPL-H body of the truth.
        motion: What the people do.
        options: Shapes, cameras, noise.
        seed: Of the benchmark.
        name: Name of the set, part of its randomness and of the ids.

    Returns:
        A set of N times T samples; where T is not 1 the frames of a person are one window.
    """
    return stage_upright(body, motion, options, seed=seed, name=name)[0]


def stage_upright(
    body: BodyModel, motion: Motion, options: StagingOptions, *, seed: int, name: str
) -> tuple[HardSet, Float[np.ndarray, "N 3"]]:
    """The same as `stage`, and which way is up before each camera, a unit vector."""
    rng = generator(seed, name)
    people, frames = motion.full_pose.shape[:2]
    betas = draw_betas(rng, body, options.shape, people)
    world = world_params(body, motion.full_pose, motion.pelvis, betas)
    model = landmarks.layout_points(body, LAYOUT)
    points = in_pieces(model, world).reshape(people, frames, -1, 3)
    views = viewpoints.sample_viewpoints(rng, points.reshape(people, -1, 3), options.viewpoint)

    def each(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, frames, axis=0)

    camera = Camera(
        focal_length=each(views.focal_length).astype(np.float32),
        principal_point=each(views.principal_point).astype(np.float32),
    )
    params = placement.moved(body, world, each(views.rotation), each(views.translation))
    seen = in_pieces(model, params)
    true_keypoints_2d = np.asarray(cameras.project_points(camera, seen))
    count = people * frames
    flat_frames = motion.frames.reshape(-1)
    takes, styles, groups = (
        tuple(each(np.array(texts)).tolist()) for texts in (motion.takes, motion.styles, motion.groups)
    )
    perfect = HardSet(
        name=name,
        ids=tuple(
            f"{name}/{style}-{take}/{frame:06d}-{row:04d}"
            for row, (style, take, frame) in enumerate(zip(styles, takes, flat_frames, strict=True))
        ),
        styles=styles,
        takes=takes,
        groups=groups,
        frames=flat_frames.astype(np.int32),
        windows=np.repeat(np.arange(people), frames).astype(np.int32) if frames > 1 else np.full(count, -1, np.int32),
        frames_per_second=motion.frames_per_second,
        params=params,
        camera=camera,
        assumed_camera=camera,
        image_size=options.viewpoint.image_size,
        joints=in_pieces(landmarks.layout_points(body, "smplh52"), params),
        layout=LAYOUT,
        true_keypoints_2d=true_keypoints_2d,
        keypoints_2d=true_keypoints_2d,
        confidence=np.ones(true_keypoints_2d.shape[:2], np.float32),
        border=np.tile(np.array([0, 0, *options.viewpoint.image_size], np.float32) - [0, 0, 1, 1], (count, 1)),
        body=body_name(body),
        body_checksum=body.checksum,
        notes=f"{options.shape} {options.viewpoint}",
    )
    up = each(views.rotation)[:, :, 1].astype(np.float64)
    return observe(perfect, options.noise, seed=seed, name=name, num_frames=frames), up


def observe(
    truth: HardSet,
    noise: DetectorNoise,
    *,
    seed: int,
    name: str,
    num_frames: int = 1,
    focal_length_factor: float = 1.0,
) -> HardSet:
    """The same people seen by another detector, or with a wrong idea of the lens.

    Args:
        truth: Set whose truth is kept.
        noise: How the detector errs.
        seed: Of the benchmark.
        name: Name of the new set, part of its randomness.
        num_frames: Frames of each window.
        focal_length_factor: The assumed focal length is the true one times or divided by this, by chance.
    """
    rng = generator(seed, f"{name}/detector")
    layout = layouts.get_layout(truth.layout)
    shape = (-1, num_frames, len(layout), 2)
    found = detector_noise.detect(
        rng, np.asarray(truth.true_keypoints_2d, np.float64).reshape(shape), layout, noise, image_size=truth.image_size
    )
    people = len(truth) // num_frames
    factor = focal_length_factor ** rng.choice((-1.0, 1.0), size=people)
    assumed = dataclasses.replace(
        truth.camera,
        focal_length=np.asarray(truth.camera.focal_length) * np.repeat(factor, num_frames)[:, None].astype(np.float32),
    )
    return dataclasses.replace(
        truth,
        name=name,
        ids=tuple(f"{name}/{sample.removeprefix(f'{truth.name}/')}" for sample in truth.ids),
        assumed_camera=assumed,
        keypoints_2d=found.keypoints_2d.reshape(truth.true_keypoints_2d.shape).astype(np.float32),
        confidence=found.confidence.reshape(truth.confidence.shape).astype(np.float32),
        border=np.repeat(found.border, num_frames, axis=0).astype(np.float32),
        notes=f"{truth.notes.partition(' DetectorNoise')[0]} {noise} focal_length_factor={focal_length_factor}",
    )


def draw_betas(
    rng: np.random.Generator, body: BodyModel, options: ShapeOptions, people: int
) -> Float[np.ndarray, "N S"]:
    """Shapes of people."""
    spread = np.full(body.num_betas, options.spread)
    spread[0] = options.first_spread
    return rng.normal(size=(people, body.num_betas)) * spread


def world_params(
    body: BodyModel,
    full_pose: Float[np.ndarray, "N T J 3"],
    pelvis: Float[np.ndarray, "N T 3"],
    betas: Float[np.ndarray, "N S"],
) -> BodyParams:
    """All people of all frames, one row each, in the world.

    Args:
        body: SMPL-H.
        full_pose: Axis-angle.
        pelvis: Place of the pelvis, in leg lengths.
        betas: Shapes of the people.
    """
    people, frames = full_pose.shape[:2]
    dtype = body.joint_template.dtype
    rows = np.repeat(betas, frames, axis=0)
    root = np.asarray(body.joint_template, np.float64)[0] + rows @ np.asarray(
        body.joint_shape_basis[: body.num_betas, 0], np.float64
    )
    place = pelvis * leg_length(body, betas)[:, None, None]
    return BodyParams.from_full_pose(
        body,
        jnp.asarray(full_pose.reshape(people * frames, -1, 3), dtype),
        betas=jnp.asarray(rows, dtype),
        transl=jnp.asarray(place.reshape(-1, 3) - root, dtype),
    )
