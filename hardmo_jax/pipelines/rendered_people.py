"""Pictures of people whose keypoints are known: the open body in motion, rendered in a room.

Each window is somebody else: another motion, shape, clothes and view. Points are known wherever they are, also behind
the body; of the 133 points of COCO-WholeBody the 17 of the face's contour belong to no place of the body.
"""

import pathlib
from collections.abc import Iterator

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

_SIZE, _FOCAL_LENGTH = 640, 800.0
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
    view = View(focal_length=np.full(2, _FOCAL_LENGTH), principal_point=middle, width=_SIZE, height=_SIZE)
    for window, poses in enumerate(motion.full_pose):
        rotation, translation = _camera(rng)
        params = _placed(body, poses, rng, rotation, translation)
        room = scenery.room_meshes(rotation, translation)
        colours = (_SKINS[rng.integers(len(_SKINS))], *rng.uniform(0.1, 0.95, (len(scenery.CLOTHES) - 1, 3)).tolist())
        vertices = np.asarray(in_pieces(body, params).vertices)
        points = np.asarray(in_pieces(model, params), np.float64)
        pixels = _FOCAL_LENGTH * points[..., :2] / points[..., 2:] + middle
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
) -> BodyParams:
    """Somebody of a shape of their own on the floor, before a camera."""
    count = len(poses)
    betas = np.broadcast_to(rng.normal(0, 0.7, body.num_betas), (count, body.num_betas)).astype(np.float32)

    def standing(transl: Float[np.ndarray, "T 3"]) -> BodyParams:
        return BodyParams.from_full_pose(body, poses.astype(np.float32), betas=betas, transl=transl.astype(np.float32))

    vertices = np.asarray(in_pieces(body, standing(np.zeros((count, 3)))).vertices)
    middle = 0.5 * (vertices.max(1) + vertices.min(1))
    transl = -np.stack([middle[:, 0], vertices[..., 1].min(1), middle[:, 2]], 1)
    turned = np.broadcast_to(rotation, (count, 3, 3)), np.broadcast_to(translation, (count, 3))
    return jax.tree.map(np.asarray, placement.moved(body, standing(transl), *turned))


def _inside(pixels: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "K"]:
    """1 in the picture."""
    return np.all((pixels >= 0) & (pixels <= _SIZE - 1), axis=-1).astype(np.float32)
