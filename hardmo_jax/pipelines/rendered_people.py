"""Pictures of people whose keypoints are known: the open body in motion, rendered in a room.

Each window is somebody else: another motion, shape, clothes and view. Points are known wherever they are, also behind
the body; of the 133 points of COCO-WholeBody the 17 of the face's contour belong to no place of the body.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.body import landmarks, placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import synthetic
from hardmo_jax.perception.people import LAYOUT_NAME
from hardmo_jax.perception.video import Frame
from hardmo_jax.pipelines import scenery
from hardmo_jax.pipelines.known_pictures import KnownPerson, KnownPicture
from hardmo_jax.rendering import raster
from hardmo_jax.rendering.scene import View
from hardmo_jax.skeleton import layouts

_SIZE = 640
#: Of the camera of `rendered_pictures`, pixels.
FOCAL_LENGTH = 800.0
#: Of clips of people who walk.
_WIDE, _HIGH, WALK_FRAMES_PER_SECOND = 960, 540, 25.0
#: Cells in which is told who is nearest, pixels.
_CELL = 6
#: A pillar stands before the middle of the room, nearer than anybody, metres from the camera.
_PILLAR_DISTANCE, _PILLAR_DEPTH = 3.2, 0.3
#: From the camera to the middle of the room of people who walk, metres.
_ROOM_DISTANCE = 4.0
#: Weights of the directions of the frames around one, over which people who walk turn.
_TURN = np.hanning(15)
#: Seconds between two frames: motion that follows closely says the same twice.
_STEP_SECONDS = 0.4
_CAMERA_HEIGHT = (0.6, 1.9)
_DISTANCE = (2.9, 4.5)
_SKINS = ((0.93, 0.78, 0.68), (0.87, 0.67, 0.55), (0.72, 0.52, 0.40), (0.55, 0.38, 0.28), (0.38, 0.26, 0.20))
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


def rendered_pictures(body: BodyModel, seed: int, num_windows: int, frames_of_window: int) -> Iterator[KnownPicture]:
    """Render people in motion, frame by frame.

    Args:
        body: The open body, view `smplh`.
        seed: The same seed gives the same pictures.
        num_windows: People.
        frames_of_window: Pictures of each.
    """
    rng = np.random.default_rng(seed)
    renderer = raster.choose_renderer("auto")
    faces, cloth_of = np.asarray(body.faces), scenery.cloth_of_vertices(body)
    motion = synthetic.sample_hard_motion(seed, num_windows, frames_of_window, 1 / _STEP_SECONDS)
    model, _ = landmarks.point_model(body, layouts.get_layout(LAYOUT_NAME))
    middle = np.full(2, (_SIZE - 1) / 2)
    view = View(focal_length=np.full(2, FOCAL_LENGTH), principal_point=middle, width=_SIZE, height=_SIZE)
    for window, poses in enumerate(motion.full_pose):
        rotation, translation = _camera(rng)
        params = _placed(body, poses, rng, rotation, translation)
        room = scenery.room_meshes(rotation, translation)
        colours = _colours(rng)
        vertices = np.asarray(in_pieces(body, params).vertices)
        points = np.asarray(in_pieces(model, params), np.float64)
        pixels = FOCAL_LENGTH * points[..., :2] / points[..., 2:] + middle
        for number in range(frames_of_window):
            person = scenery.clothed_meshes(vertices[number], faces, cloth_of, colours)
            image = renderer.render([*room, *person], view)[..., :3]
            position = window * frames_of_window + number
            yield KnownPicture(
                frame=Frame(
                    image=np.ascontiguousarray(image),
                    source_path=pathlib.Path(f"rendered_{seed}_{position:06d}.png"),
                    source_sha256="",
                    frame_index=0,
                    position=position,
                    time_seconds=None,
                ),
                people=(
                    KnownPerson(
                        keypoints_2d=pixels[number].astype(np.float32),
                        confidence=_inside(pixels[number]),
                    ),
                ),
            )


def _colours(rng: np.random.Generator) -> tuple[Sequence[float], ...]:
    """Skin of somebody, and clothes of any colour."""
    return _SKINS[rng.integers(len(_SKINS))], *rng.uniform(0.1, 0.95, (len(scenery.CLOTHES) - 1, 3)).tolist()


def _camera(rng: np.random.Generator) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """From the world to a camera that looks at the middle of the room."""
    turn, height, distance = rng.uniform(-180, 180), rng.uniform(*_CAMERA_HEIGHT), rng.uniform(*_DISTANCE)
    pitch = np.degrees(np.arctan2(height - 0.95, distance))
    rotation = (
        Rotation.from_euler("x", pitch, degrees=True) * Rotation.from_euler("y", turn, degrees=True)
    ).as_matrix()
    eye = Rotation.from_euler("y", -turn, degrees=True).as_matrix() @ np.array([0.0, height, distance])
    rotation = _TO_CAMERA @ rotation
    return rotation, -rotation @ eye


def _placed(
    body: BodyModel,
    poses: Float[np.ndarray, "T 52 3"],
    rng: np.random.Generator,
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
    *,
    where: Float[np.ndarray, "T 3"] | None = None,
) -> BodyParams:
    """Somebody of a shape of their own on the floor, before a camera; in the middle of the room, or `where`."""
    count = len(poses)
    betas = np.broadcast_to(rng.normal(0, 0.7, body.num_betas), (count, body.num_betas)).astype(np.float32)

    def standing(transl: Float[np.ndarray, "T 3"]) -> BodyParams:
        return BodyParams.from_full_pose(body, poses.astype(np.float32), betas=betas, transl=transl.astype(np.float32))

    vertices = np.asarray(in_pieces(body, standing(np.zeros((count, 3)))).vertices)
    middle = 0.5 * (vertices.max(1) + vertices.min(1))
    transl = -np.stack([middle[:, 0], vertices[..., 1].min(1), middle[:, 2]], 1)
    transl = transl if where is None else transl + where
    turned = np.broadcast_to(rotation, (count, 3, 3)), np.broadcast_to(translation, (count, 3))
    return jax.tree.map(np.asarray, placement.moved(body, standing(transl), *turned))


def _inside(pixels: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K"]:
    """1 in the picture."""
    return np.all((pixels >= 0) & (pixels <= _SIZE - 1), axis=-1).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossingFrame:
    """A frame of people who walk past each other."""

    frame: Frame
    """Its pixels."""
    people: tuple[KnownPerson, ...]
    """Always the same people in the same order."""
    visible_share: Float[np.ndarray, "P"]
    """Share of each that nobody stands before and that lies in the picture."""


def crossing_people(
    body: BodyModel,
    seed: int,
    num_people: int,
    num_frames: int,
    *,
    motion: Literal["walk", "dance"] = "dance",
    pillar_width: float = 0.0,
) -> Iterator[CrossingFrame]:
    """Render people who go to and fro across the view at distances of their own, so that the nearer ones hide others.

    Args:
        body: The open body, view `smplh`.
        seed: The same seed gives the same people.
        num_people: How many.
        num_frames: Frames, of `WALK_FRAMES_PER_SECOND`.
        motion: They walk, or glide and dance: bend backwards, kneel, do splits.
        pillar_width: Of a pillar in the middle that hides whoever passes, metres; 0 for none. They go 0.8 to 1.4
            metres a second, 1.25 to 2.3 times as far from the camera as it.
    """
    rng = np.random.default_rng(seed)
    renderer = raster.choose_renderer("auto")
    faces, cloth_of = np.asarray(body.faces), scenery.cloth_of_vertices(body)
    dances = synthetic.sample_hard_motion(seed, num_people, num_frames, WALK_FRAMES_PER_SECOND, "dance").full_pose
    model, _ = landmarks.point_model(body, layouts.get_layout(LAYOUT_NAME))
    middle = np.array([(_WIDE - 1) / 2, (_HIGH - 1) / 2])
    view = View(focal_length=np.full(2, FOCAL_LENGTH), principal_point=middle, width=_WIDE, height=_HIGH)
    rotation, translation = _TO_CAMERA.astype(np.float64), np.array([0.0, 1.2, 0.0])
    depths = rng.permutation(np.linspace(4.0, 7.0, num_people)) if num_people > 1 else np.array([4.5])
    seconds = np.arange(num_frames) / WALK_FRAMES_PER_SECOND
    colours, vertices, points = [], [], []
    for person, dance in enumerate(dances):
        # To and fro over the width that the camera sees at this distance, each at a pace of their own.
        half = 0.42 * _WIDE / FOCAL_LENGTH * depths[person]
        phase = rng.uniform(0, 1) + seconds * rng.uniform(0.8, 1.4) / (4 * half)
        x = half * (4 * np.abs(phase - np.floor(phase + 0.5)) - 1)
        where = np.stack([x, np.zeros(num_frames), np.full(num_frames, -depths[person])], 1)
        poses = dance if motion == "dance" else _walk(body, x, rng.uniform(0, 2 * np.pi))
        params = _placed(body, poses, rng, rotation, translation, where=where)
        vertices.append(np.asarray(in_pieces(body, params).vertices))
        points.append(np.asarray(in_pieces(model, params), np.float64))
        colours.append(_colours(rng))
    pillar = ((0.0, _ROOM_DISTANCE - _PILLAR_DISTANCE - _PILLAR_DEPTH / 2), (pillar_width, _PILLAR_DEPTH))
    room = scenery.room_meshes(
        rotation,
        translation + np.array([0.0, 0.0, _ROOM_DISTANCE]),
        pillars=(pillar,) if pillar_width > 0 else (),
    )
    hidden_side = 0.5 * pillar_width * FOCAL_LENGTH / _PILLAR_DISTANCE
    for number in range(num_frames):
        meshes = [
            mesh
            for one, own in zip(vertices, colours, strict=True)
            for mesh in scenery.clothed_meshes(one[number], faces, cloth_of, own)
        ]
        known = []
        for one in points:
            pixels = FOCAL_LENGTH * one[number][:, :2] / one[number][:, 2:] + middle
            inside = np.all((pixels >= 0) & (pixels <= [_WIDE - 1, _HIGH - 1]), axis=-1)
            known.append(KnownPerson(keypoints_2d=pixels.astype(np.float32), confidence=inside.astype(np.float32)))
        yield CrossingFrame(
            frame=Frame(
                image=np.ascontiguousarray(renderer.render([*room, *meshes], view)[..., :3]),
                source_path=pathlib.Path(f"crossing_{seed}.mp4"),
                source_sha256="",
                frame_index=number,
                position=number,
                time_seconds=number / WALK_FRAMES_PER_SECOND,
            ),
            people=tuple(known),
            visible_share=_visible_shares([one[number] for one in vertices], middle, hidden_side),
        )


def _walk(body: BodyModel, x: Float[np.ndarray, "T"], phase: float) -> Float[np.ndarray, "T J 3"]:
    """Poses of somebody who walks along the world's first axis, and turns before the camera.

    Args:
        body: The open body.
        x: Where they are, metres.
        phase: Of the first step, radians.
    """
    ways = np.gradient(x)
    # Two steps are 1.4 metres.
    step = phase + 2 * np.pi * np.cumsum(np.abs(ways)) / 1.4
    ends = len(_TURN) // 2
    heading = np.convolve(np.pad(np.sign(ways), ends, mode="edge"), _TURN / _TURN.sum(), mode="valid")
    poses = np.zeros((len(x), len(body.joint_names), 3))

    def turn(name: str, axis: int, angle: float | Float[np.ndarray, "T"]) -> None:
        poses[:, body.joint_names.index(name), axis] = angle

    turn("pelvis", 1, 0.5 * np.pi * heading)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(step)
        turn(f"{side}_hip", 0, -0.45 * swing)
        turn(f"{side}_knee", 0, 0.1 + 0.8 * np.maximum(sign * np.cos(step), 0))
        turn(f"{side}_elbow", 1, -0.4 * sign)
        # The arm hangs, and swings against the leg.
        hanging = Rotation.from_euler("z", -1.25 * sign)
        poses[:, body.joint_names.index(f"{side}_shoulder")] = (
            Rotation.from_euler("x", 0.45 * swing[:, None]) * hanging
        ).as_rotvec()
    return poses


def _visible_shares(
    people: list[Float[np.ndarray, "V 3"]], middle: Float[np.ndarray, "2"], hidden_side: float
) -> Float[np.ndarray, "P"]:
    """Share of the cells that a person covers in which nobody is nearer, of all cells also outside of the picture.

    Args:
        people: Surface of each in the camera's frame, metres.
        middle: Of the picture, pixels.
        hidden_side: Cells less than this left or right of the middle are hidden by a pillar, pixels.
    """
    size = np.array([_WIDE, _HIGH]) // _CELL
    nearest = np.full((len(people), *size), np.inf)
    outside = np.zeros(len(people))
    for place, vertices in enumerate(people):
        cells = np.floor((FOCAL_LENGTH * vertices[:, :2] / vertices[:, 2:] + middle) / _CELL).astype(int)
        is_inside = np.all((cells >= 0) & (cells < size), axis=-1)
        np.minimum.at(nearest[place], tuple(cells[is_inside].T), vertices[is_inside, 2])
        outside[place] = len(np.unique(cells[~is_inside], axis=0))
    covers = np.isfinite(nearest)
    is_open = np.abs((np.arange(size[0]) + 0.5) * _CELL - middle[0]) >= hidden_side
    is_first = covers & (nearest <= nearest.min(0)) & is_open[:, None]
    return is_first.sum((1, 2)) / np.maximum(covers.sum((1, 2)) + outside, 1)
