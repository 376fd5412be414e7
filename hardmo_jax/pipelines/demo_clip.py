"""A clip whose truth is known: two dancers of the open body, rendered by this package from written key poses.

Six seconds with what labels get wrong: tiptoe, pointed feet, twisted wrists, somebody who walks behind a pillar, and a
cut to another camera. The package holds clip and truth; `python -m tools.demo --render` makes both again.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body import placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import synthetic
from hardmo_jax.pipelines import scenery
from hardmo_jax.rendering import raster
from hardmo_jax.rendering.scene import Mesh, View
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz.overlay import VideoOverlayWriter
from hardmo_jax.whole_files import replacing

Progress = Callable[[str, int, int | None], None]

FRAMES_PER_SECOND, NUM_FRAMES, CUT = 25.0, 150, 85
_WIDTH, _HEIGHT, _FOCAL_LENGTH = 960, 720, 930.0
#: From the world (y up) to axes of a camera that looks along -z.
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])
_CAMERA_HEIGHT = 1.05
#: Turn of the world about the vertical (degrees) and distance of the camera (metres), before the cut and after.
_CAMERAS = ((0.0, 3.7), (-40.0, 3.5))
_PILLAR = ((0.38, 0.9), (0.18, 0.18))
"""Place on the floor (x, z) and size of the pillar, metres."""
_COLOURS = (
    ((0.87, 0.67, 0.55), (0.20, 0.35, 0.62), (0.22, 0.22, 0.26), (0.75, 0.12, 0.12)),
    ((0.55, 0.38, 0.28), (0.75, 0.55, 0.15), (0.18, 0.32, 0.24), (0.95, 0.93, 0.9)),
)
"""Of skin, shirt, trousers and shoes of each dancer."""


@dataclasses.dataclass(frozen=True)
class _Step:
    """A key pose at a time, with joints changed (degrees), and where the dancer stands then."""

    seconds: float
    pose: str
    place: tuple[float, float]
    turn: float
    changed: tuple[tuple[str, tuple[float, float, float]], ...] = ()


_TWISTED = (("left_wrist", (55.0, 0.0, 25.0)), ("right_wrist", (-50.0, 0.0, 20.0)))
_BENT = (("left_wrist", (0.0, 10.0, 65.0)), ("right_wrist", (0.0, -5.0, 55.0)))
_DANCES = (
    (
        _Step(0.0, "salsa step", (-0.75, 0.0), 15.0),
        _Step(0.7, "plie releve", (-0.75, 0.0), 10.0, _TWISTED),
        _Step(1.5, "attitude", (-0.7, 0.1), 35.0, _TWISTED),
        _Step(2.3, "plie releve", (-0.7, 0.1), 0.0, _BENT),
        _Step(3.2, "arabesque", (-0.65, 0.0), 60.0, _BENT),
        _Step(4.2, "plie releve", (-0.65, 0.0), 45.0, _TWISTED),
        _Step(5.2, "spin retire", (-0.6, 0.0), 60.0),
        _Step(6.0, "plie releve", (-0.6, 0.0), 50.0),
    ),
    (
        _Step(0.0, "plie releve", (1.15, -0.2), -20.0),
        _Step(0.8, "salsa step", (1.1, -0.2), -30.0, _BENT),
        _Step(1.6, "salsa step", (0.65, -0.2), -40.0, _BENT),
        _Step(2.2, "spin retire", (0.55, -0.2), -20.0, _TWISTED),
        _Step(3.0, "plie releve", (1.0, -0.2), -10.0, _TWISTED),
        _Step(4.0, "crane stance", (0.85, -0.2), 10.0),
        _Step(5.0, "front kick", (0.8, -0.2), 30.0),
        _Step(6.0, "cat stance", (0.8, -0.2), 30.0),
    ),
)
_BETAS = ((0.3, -0.4, 0.2), (-0.6, 0.5, 0.0))


ASSETS = pathlib.Path(__file__).with_name("assets")
CLIP = "two_dancers.mp4"
TRUTH = "two_dancers_truth.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoTruth:
    """What the dancers do."""

    params: BodyParams
    """Of P dancers in T frames, one after the other by frame; open body (`smplh`), camera frame."""
    frame: Int[np.ndarray, "N"]
    """Frame of each row."""
    dancer: Int[np.ndarray, "N"]
    """Number of the dancer of each row."""
    focal_length: float
    """Pixels; the principal point is the centre of the picture."""


def dancers(body: BodyModel) -> DemoTruth:
    """The dancers in front of the two cameras."""
    people = [_dancer(body, steps, betas) for steps, betas in zip(_DANCES, _BETAS, strict=True)]
    together = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves], 1).reshape(-1, *leaves[0].shape[1:]), *people
    )
    return DemoTruth(
        params=together,
        frame=np.repeat(np.arange(NUM_FRAMES), len(people)),
        dancer=np.tile(np.arange(len(people)), NUM_FRAMES),
        focal_length=_FOCAL_LENGTH,
    )


def write_truth(truth: DemoTruth, path: pathlib.Path) -> None:
    """Write the truth as arrays by the names of `BodyParams`, with `frame`, `dancer` and `focal_length`."""
    params: dict[str, Any] = {
        field.name: np.asarray(value, np.float32)
        for field in dataclasses.fields(truth.params)
        if (value := getattr(truth.params, field.name)) is not None
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            frame=truth.frame.astype(np.int32),
            dancer=truth.dancer.astype(np.int32),
            focal_length=np.float32(truth.focal_length),
            **params,
        )


def packaged_truth() -> DemoTruth:
    """The truth of the clip of the package."""
    with np.load(ASSETS / TRUTH, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    focal_length, frame, dancer = float(arrays.pop("focal_length")), arrays.pop("frame"), arrays.pop("dancer")
    return DemoTruth(params=BodyParams(**arrays), frame=frame, dancer=dancer, focal_length=focal_length)


def _dancer(body: BodyModel, steps: tuple[_Step, ...], betas: tuple[float, ...]) -> BodyParams:
    joints = layouts.SMPLH_JOINTS
    seconds = np.arange(NUM_FRAMES) / FRAMES_PER_SECOND
    poses = []
    for step in steps:
        pose = synthetic.key_pose(step.pose)
        for joint, angles in step.changed:
            pose[joints.index(joint)] = np.radians(angles)
        poses.append(pose)
    times = np.array([step.seconds for step in steps])
    pose = PchipInterpolator(times, np.stack(poses))(seconds)
    x, z = (PchipInterpolator(times, [step.place[axis] for step in steps])(seconds) for axis in (0, 1))
    turn = np.radians(PchipInterpolator(times, [step.turn for step in steps])(seconds))
    pose[:, 0] = (Rotation.from_rotvec(turn[:, None] * [0, 1, 0]) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    shape = np.zeros((NUM_FRAMES, body.num_betas), np.float32)
    shape[:, : len(betas)] = betas

    def placed(transl: Float[np.ndarray, "T 3"]) -> BodyParams:
        return BodyParams.from_full_pose(body, pose.astype(np.float32), betas=shape, transl=transl.astype(np.float32))

    # The lowest point of the body is on the floor.
    lowest = np.asarray(in_pieces(body, placed(np.zeros((NUM_FRAMES, 3)))).vertices)[..., 1].min(1)
    world = placed(np.stack([x, -lowest, z], 1))
    camera = np.where(np.arange(NUM_FRAMES) < CUT, 0, 1)
    rotation = np.stack([_rotation(turn) for turn, _ in _CAMERAS])[camera]
    translation = np.stack([[0.0, _CAMERA_HEIGHT, distance] for _, distance in _CAMERAS])[camera]
    return jax.tree.map(np.asarray, placement.moved(body, world, rotation, translation))


def _rotation(turn: float) -> Float[np.ndarray, "3 3"]:
    return _TO_CAMERA @ Rotation.from_euler("y", turn, degrees=True).as_matrix()


def render_demo(body: BodyModel, folder: pathlib.Path, *, progress: Progress | None = None) -> None:
    """Write clip and truth.

    Args:
        body: The open body, view `smplh`.
        folder: Made if absent.
        progress: Told the stage, what is done, and of how much.
    """
    truth = dancers(body)
    report = progress or (lambda stage, done, total: None)
    renderer = raster.choose_renderer("auto")
    faces, cloth_of = np.asarray(body.faces), scenery.cloth_of_vertices(body)
    stages = [_stage(shot) for shot in range(len(_CAMERAS))]
    view = View(
        focal_length=np.full(2, _FOCAL_LENGTH), principal_point=np.array([(_WIDTH - 1) / 2, (_HEIGHT - 1) / 2]),
        width=_WIDTH, height=_HEIGHT,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_truth(truth, folder / TRUTH)
    with VideoOverlayWriter(folder / CLIP, FRAMES_PER_SECOND, max_side=_WIDTH, quality=21) as writer:
        for frame in range(NUM_FRAMES):
            meshes = list(stages[int(frame >= CUT)])
            some = jax.tree.map(lambda leaf, rows=truth.frame == frame: leaf[rows], truth.params)
            for person, vertices in enumerate(np.asarray(in_pieces(body, some).vertices)):
                meshes += scenery.clothed_meshes(vertices, faces, cloth_of, _COLOURS[person])
            writer.add(np.ascontiguousarray(renderer.render(meshes, view)[..., :3]))
            report("render", frame + 1, NUM_FRAMES)


def _stage(shot: int) -> list[Mesh]:
    """The room and, in the first shot, the pillar, before the camera of a shot."""
    turn, distance = _CAMERAS[shot]
    translation = np.array([0.0, _CAMERA_HEIGHT, distance])
    return scenery.room_meshes(_rotation(turn), translation, pillars=(_PILLAR,) if shot == 0 else ())
