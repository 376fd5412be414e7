"""Contact sheets of a body: rest pose, hard poses, details of hands and feet, and shapes, as RGB pictures.

By these a person judges whether a body model bends the right way. Poses stand in one table by joint names, so
that they drive every family of body models. All bodies of a sheet are drawn to one scale, upon one floor line,
from far away, so that sizes can be compared.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.rendering import raster, scene
from hardmo_jax.rendering.scene import Renderer

#: Axis-angle components (x, y, z) of a joint in degrees.
Angles = tuple[float | int, float | int, float | int]


def _both(part: str, x: float | int, y: float | int, z: float | int) -> dict[str, Angles]:
    """The same movement on both sides; the mirror image of (x, y, z) is (x, -y, -z)."""
    return {f"left_{part}": (x, y, z), f"right_{part}": (x, -y, -z)}


def _fist(side: str) -> dict[str, Angles]:
    """Four curled fingers; bodies without finger joints leave them out."""
    sign = 1.0 if side == "left" else -1.0
    curls = {1: -75.0, 2: -95.0, 3: -60.0}
    return {
        f"{side}_{finger}{joint}": (0.0, 0.0, sign * angle)
        for finger in ("index", "middle", "ring", "pinky")
        for joint, angle in curls.items()
    }


#: Poses in which labels are most often wrong. Rotations are relative to the parent joint, from the T-pose: hip x-
#: lifts the thigh forward, knee x+ bends, ankle x+ points the foot, foot x- lifts the toes, spine x- leans back,
#: left shoulder z- lowers the arm and y- brings it forward, left elbow y- bends, left wrist z+ lifts the hand.
POSES: Mapping[str, Mapping[str, Angles]] = {
    "high kick": {
        "pelvis": (-18, 0, 0), "spine1": (12, 0, 0), "spine2": (8, 0, 0), "neck": (8, 0, 0),
        "left_hip": (-132, 0, 0), "left_knee": (4, 0, 0), "left_ankle": (35, 0, 0), "left_foot": (10, 0, 0),
        "right_hip": (14, 0, -6), "right_knee": (8, 0, 0), "right_ankle": (-4, 0, 0),
        **_both("shoulder", 0, -5, -45), **_both("elbow", 0, -118, 0),
        **_fist("left"), **_fist("right"),
    },
    "front split": {
        "pelvis": (20, 0, 0), "spine1": (-13, 0, 0), "spine2": (-8, 0, 0),
        "left_hip": (-108, 0, 0), "left_ankle": (45, 0, 0), "left_foot": (8, 0, 0),
        "right_hip": (68, 0, 0), "right_knee": (2, 0, 0), "right_ankle": (58, 0, 0), "right_foot": (8, 0, 0),
        **_both("shoulder", 0, 0, 12),
    },
    "tiptoe": {
        **_both("ankle", 52, 0, 0), **_both("foot", -52, 0, 0), **_both("hip", 0, 0, 3),
        **_both("collar", 0, 0, 18), **_both("shoulder", 0, -5, 60), **_both("elbow", 0, -30, 0),
        "neck": (-5, 0, 0),
    },
    "backbend": {
        "pelvis": (-30, 0, 0), "spine1": (-32, 0, 0), "spine2": (-24, 0, 0), "spine3": (-22, 0, 0),
        "neck": (-30, 0, 0), "head": (-20, 0, 0),
        **_both("hip", 22, 0, 6), **_both("knee", 36, 0, 0), **_both("ankle", -28, 0, 0),
        **_both("collar", 0, 0, 20), **_both("shoulder", 0, 0, 68),
    },
    "flat palm push": {
        "spine1": (4, -8, 0), "spine2": (0, -8, 0),
        "left_hip": (-52, 0, 6), "left_knee": (62, 0, 0), "left_ankle": (-10, 0, 0),
        "right_hip": (30, 0, -8), "right_knee": (5, 0, 0), "right_ankle": (-35, 0, 0),
        "left_collar": (0, -12, 0), "left_shoulder": (0, -62, 0), "left_elbow": (0, -4, 0),
        "left_wrist": (0, 0, 80),
        "right_shoulder": (0, 0, 62), "right_elbow": (0, 105, 0), **_fist("right"),
    },
}  # fmt: skip

#: Where the viewer stands: azimuth from the front towards the person's left, and elevation, degrees.
VIEWPOINTS: Mapping[str, tuple[float | int, float | int]] = {
    "front": (0, 0),
    "left side": (90, 0),
    "right side": (-90, 0),
    "back": (180, 0),
    "top": (0, 90),
    "left front": (50, 12),
}
#: The two views of each pose.
_POSE_VIEWS: Mapping[str, tuple[str, str]] = {
    "high kick": ("left front", "left side"),
    "front split": ("left front", "left side"),
    "tiptoe": ("front", "left side"),
    "backbend": ("left front", "left side"),
    "flat palm push": ("left front", "left side"),
}
#: Pose, viewpoint, joint in the middle, and side of the square that is seen in metres.
_DETAILS: Sequence[tuple[str, str, str, float]] = (
    ("tiptoe", "left side", "left_ankle", 0.42),
    ("tiptoe", "front", "left_ankle", 0.42),
    ("flat palm push", "left side", "left_wrist", 0.42),
    ("flat palm push", "front", "left_wrist", 0.42),
    ("flat palm push", "right side", "right_wrist", 0.42),
)
#: Shape coefficients are shown this many standard deviations from the mean.
SHAPE_SPAN = 3.0

_DISTANCE = 12.0
_PAPER = 250
_INK = (40, 44, 52)
_MARGIN = 10
_SHADE_STEP = 4
_LABEL_HEIGHT = 22
_MIN_WIDTH = 110
_PART_WORDS = {"ankle": "foot", "wrist": "hand"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One body of a contact sheet."""

    params: BodyParams
    """Without batch axes."""
    viewpoint: str
    """Key of `VIEWPOINTS`."""
    label: str
    """Words under the picture, ASCII."""
    focus: str | None = None
    """Joint in the middle of a close-up; None shows the whole body."""
    focus_size: float = 0.5
    """Side of the close-up in metres."""


def params_from_angles(body: BodyModel, angles: Mapping[str, Angles]) -> BodyParams:
    """Pose the mean shape by joint names.

    Args:
        body: The model.
        angles: Axis-angle components in degrees by joint name; joints left out stay at rest. Finger joints that
            the model does not have are passed over.

    Returns:
        Parameters without batch axes.

    Raises:
        KeyError: If a name is no joint of the SMPL family.
    """
    fingers = ("index", "middle", "ring", "pinky", "thumb")
    pose = np.zeros((body.num_joints, 3), np.float32)
    for name, value in angles.items():
        if name in body.joint_names:
            pose[body.joint_names.index(name)] = np.radians(value)
        elif not name.partition("_")[2].startswith(fingers):
            raise KeyError(f"{name!r} is no joint of {body.name}; it has {', '.join(body.joint_names)}")
    return BodyParams.from_full_pose(body, jnp.asarray(pose))


def pose_params(body: BodyModel, pose: str) -> BodyParams:
    """Parameters of a pose of `POSES`."""
    return params_from_angles(body, POSES[pose])


def draw_sheet(
    body: BodyModel,
    cells: Sequence[Cell],
    *,
    columns: int,
    pixels_per_metre: float | int,
    renderer: Renderer | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw bodies side by side, to one scale; columns and rows are as wide and high as what stands in them.

    Args:
        body: The model.
        cells: What to show, row by row.
        columns: Number of cells in a row.
        pixels_per_metre: Scale at the pelvis.
        renderer: None for `raster.choose_renderer("auto")`.

    Returns:
        RGB, 0 to 255.
    """
    renderer = renderer or raster.choose_renderer()
    boxes = [_project(body, cell, pixels_per_metre) for cell in cells]
    widths = [max(max(box.width for box in boxes[column::columns]), _MIN_WIDTH) for column in range(columns)]
    heights = [max(box.height for box in boxes[first : first + columns]) for first in range(0, len(boxes), columns)]
    sheet = np.full((sum(heights) + _LABEL_HEIGHT * len(heights), sum(widths), 3), _PAPER, np.uint8)
    for number, (cell, box) in enumerate(zip(cells, boxes, strict=True)):
        row, column = divmod(number, columns)
        top, left = sum(heights[:row]) + _LABEL_HEIGHT * row, sum(widths[:column])
        # Whole bodies stand on one line; what is seen from above or from near hangs in the middle.
        stands = cell.focus is None and VIEWPOINTS[cell.viewpoint][1] < 45
        down = (heights[row] - box.height) // (1 if stands else 2)
        right = (widths[column] - box.width) // 2
        picture = _draw(box, np.asarray(body.faces), pixels_per_metre, renderer)
        sheet[top + down : top + down + box.height, left + right : left + right + box.width] = picture
        _write(sheet, cell.label, top + heights[row], left, widths[column])
    return sheet


def rest_sheet(body: BodyModel, renderer: Renderer | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """The rest pose from the front, the person's left and above."""
    rest = BodyParams.rest(body)
    cells = [Cell(params=rest, viewpoint=view, label=view) for view in ("front", "left side", "top")]
    return draw_sheet(body, cells, columns=3, pixels_per_metre=260, renderer=renderer)


def pose_sheet(body: BodyModel, renderer: Renderer | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Every pose of `POSES` in a column, from two sides."""
    cells = [
        Cell(
            params=pose_params(body, pose), viewpoint=_POSE_VIEWS[pose][row], label=f"{pose}, {_POSE_VIEWS[pose][row]}"
        )
        for row in range(2)
        for pose in POSES
    ]
    return draw_sheet(body, cells, columns=len(POSES), pixels_per_metre=200, renderer=renderer)


def detail_sheet(body: BodyModel, renderer: Renderer | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Hands and feet of some poses from near."""
    cells = [
        Cell(
            params=pose_params(body, pose),
            viewpoint=view,
            label=f"{pose}, {joint.partition('_')[0]} {_PART_WORDS[joint.partition('_')[2]]}, {view}",
            focus=joint,
            focus_size=size,
        )
        for pose, view, joint, size in _DETAILS
    ]
    return draw_sheet(body, cells, columns=len(cells), pixels_per_metre=620, renderer=renderer)


def shape_sheet(body: BodyModel, renderer: Renderer | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Each shape coefficient below (first row) and above the mean, front view, arms lowered."""
    lowered = params_from_angles(body, _both("shoulder", 0, 0, -65))
    cells = [
        Cell(
            params=dataclasses.replace(
                lowered, betas=value * jnp.eye(body.num_betas, dtype=lowered.betas.dtype)[component]
            ),
            viewpoint="front",
            label=f"beta {component}: {value:+.0f}",
        )
        for value in (-SHAPE_SPAN, SHAPE_SPAN)
        for component in range(body.num_betas)
    ]
    return draw_sheet(body, cells, columns=body.num_betas, pixels_per_metre=130, renderer=renderer)


#: File name (without suffix) of each sheet and what draws it.
SHEETS: Mapping[str, Callable[[BodyModel, Renderer | None], np.ndarray]] = {
    "rest": rest_sheet,
    "poses": pose_sheet,
    "details": detail_sheet,
    "shapes": shape_sheet,
}


def _camera_axes(viewpoint: str) -> Float[np.ndarray, "3 3"]:
    """Rows are the camera's right, down and forward in the body's axes (y up, face to +z, left at +x)."""
    azimuth, elevation = np.radians(VIEWPOINTS[viewpoint])
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    level = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    forward = -np.cos(elevation) * level - np.array([0.0, np.sin(elevation), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Box:
    """A posed body along the camera's axes, and the part of the picture plane to draw."""

    points: Float[np.ndarray, "V 3"]
    """Metres from the pelvis."""
    middle: Float[np.ndarray, "2"]
    """Pixel of the pelvis."""
    width: int
    height: int


def _project(body: BodyModel, cell: Cell, pixels_per_metre: float | int) -> _Box:
    posed = body(cell.params)
    axes = _camera_axes(cell.viewpoint)
    joints = np.asarray(posed.joints, np.float64)
    root = joints[body.joint_names.index("pelvis")]
    points = (np.asarray(posed.vertices, np.float64) - root) @ axes.T
    # Of the perspective picture, which is a little larger where the body is nearer than the pelvis.
    flat = points[:, :2] / (1 + points[:, 2:] / _DISTANCE) * pixels_per_metre
    low, high = flat.min(axis=0) - _MARGIN, flat.max(axis=0) + _MARGIN
    if cell.focus is not None:
        focus = (joints[body.joint_names.index(cell.focus)] - root) @ axes.T
        centre = focus[:2] / (1 + focus[2] / _DISTANCE) * pixels_per_metre
        half = cell.focus_size / 2 * pixels_per_metre
        low, high = centre - half, centre + half
    width, height = np.ceil(high - low).astype(int).tolist()
    return _Box(points=points, middle=-low, width=width, height=height)


def _draw(
    box: _Box, faces: np.ndarray, pixels_per_metre: float | int, renderer: Renderer
) -> UInt8[np.ndarray, "H W 3"]:
    """One body on paper."""
    mesh = scene.Mesh(vertices_camera=box.points + np.array([0.0, 0.0, _DISTANCE]), faces=faces)
    view = scene.View(
        focal_length=np.full(2, pixels_per_metre * _DISTANCE),
        principal_point=box.middle,
        width=box.width,
        height=box.height,
    )
    rgba = renderer.render([mesh], view.resized(2 * box.width, 2 * box.height)).astype(np.float32)
    cover = rgba[..., 3:] / 255
    fine = rgba[..., :3] * cover + _PAPER * (1 - cover)
    picture = fine.reshape(box.height, 2, box.width, 2, 3).mean(axis=(1, 3))
    # Fewer shades halve the file and cannot be seen; the paper keeps its own.
    return np.where(picture < _PAPER - 2, np.round(picture / _SHADE_STEP) * _SHADE_STEP, _PAPER).astype(np.uint8)


def _write(sheet: np.ndarray, words: str, top: int, left: int, width: int) -> None:
    """Centred words in a row of the sheet."""
    import cv2

    scale = 0.42
    (text_width, text_height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    corner = (left + max((width - text_width) // 2, 2), top + (_LABEL_HEIGHT + text_height) // 2 - 2)
    cv2.putText(sheet, words, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
