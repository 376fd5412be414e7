"""Close-ups of a hand or foot before and after it was repaired, and a sheet of many of them.

The picture as it is with the keypoints, then the mesh of both labels over it. Everything is given in pixels of the
original picture.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float, Int
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import overlay
from hardmo_jax.viz.recovery_sheet import PAPER, written

#: Side of a close-up over the longer side of the person's box, and the least side in pixels.
_REACH, _LEAST_SIDE = 0.32, 24.0
_BASES = {"foot": "ankle", "hand": "wrist"}
_TITLE_HEIGHT = 44
_MIN_CONFIDENCE = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloseUp:
    """One hand or foot of one person in one picture."""

    part: str
    """Such as `left_hand`."""
    title: str
    """Words over it; a comma begins a new line; empty for none."""
    image: UInt8[np.ndarray, "H W 3"] | None
    """Picture; None draws on paper."""
    bbox: Float[np.ndarray, "4"]
    """Of the person, pixels."""
    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels."""
    confidence: Float[np.ndarray, "K"]
    layout: str
    focal_length: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    vertices: tuple[Float[np.ndarray, "V 3"], ...]
    """The person by each label, camera frame, metres."""


def draw_close_up(
    subject: CloseUp, faces: Int[np.ndarray, "F 3"], *, renderer: Renderer, cell: int = 300
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with the keypoints, and each label's mesh over it, side by side.

    Args:
        subject: What is drawn.
        faces: Triangles of the body.
        renderer: Draws meshes.
        cell: Side of each picture, pixels.

    Returns:
        RGB, 0 to 255.
    """
    pictures = [_cut(subject, vertices, faces, renderer, cell) for vertices in (None, *subject.vertices)]
    drawn = np.concatenate(pictures, axis=1)
    if not subject.title:
        return drawn
    return np.concatenate([written(subject.title, drawn.shape[1], _TITLE_HEIGHT), drawn])


def draw_close_up_sheet(drawn: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, columns: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Many close-ups of one size in one picture, in rows; an empty page if there are none.

    Args:
        drawn: As `draw_close_up` gives them.
        columns: Close-ups a row.
    """
    if not drawn:
        return written("nothing was found", 420, _TITLE_HEIGHT)
    blank = np.full_like(drawn[0], PAPER)
    padded = [*drawn, *[blank] * (-len(drawn) % min(columns, len(drawn)))]
    columns = min(columns, len(drawn))
    return np.concatenate(
        [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    )


def _cut(
    subject: CloseUp,
    vertices: Float[np.ndarray, "V 3"] | None,
    faces: Int[np.ndarray, "F 3"],
    renderer: Renderer,
    cell: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """The part cut out of the picture, with the keypoints, and a mesh if there is one."""
    import cv2

    middle, side = _window(subject)
    scale = cell / side
    shift = np.array([[scale, 0, 0.5 * cell - scale * middle[0]], [0, scale, 0.5 * cell - scale * middle[1]]])
    paper = np.full((cell, cell, 3), PAPER, np.uint8)
    if subject.image is not None:
        paper = cv2.warpAffine(
            subject.image, shift, (cell, cell), flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(PAPER,) * 3,
        )  # fmt: skip
    names = layouts.get_layout(subject.layout).points
    # Other parts' points, and averages of points, would only hide what is to be judged.
    own = _points_of(subject.part, names)
    is_own = np.array([name in own for name in names])
    person = overlay.OverlayPerson(
        vertices_camera=vertices,
        faces=None if vertices is None else faces,
        keypoints_2d=subject.keypoints_2d * scale + shift[:, 2],
        confidence=np.where(is_own, subject.confidence, 0),
        layout=subject.layout,
    )
    return overlay.draw_overlay(
        np.ascontiguousarray(paper),
        [person],
        focal_length=subject.focal_length * scale,
        principal_point=subject.principal_point * scale + shift[:, 2],
        renderer=renderer,
        style=overlay.OverlayStyle(mesh_opacity=0.75, min_confidence=_MIN_CONFIDENCE),
    )


def _points_of(part: str, names: Sequence[str]) -> list[str]:
    """Points of a part, and the joint that it hangs on."""
    side, kind = part.split("_")
    return [name for name in names if layouts.part_of(name) == part or name == f"{side}_{_BASES[kind]}"]


def _window(subject: CloseUp) -> tuple[Float[np.ndarray, "2"], float]:
    """Middle and side of what is cut out, pixels: around the points of the part that were seen."""
    names = list(layouts.get_layout(subject.layout).points)
    rows = [names.index(name) for name in _points_of(subject.part, names)]
    seen = [row for row in rows if subject.confidence[row] >= _MIN_CONFIDENCE]
    box = np.asarray(subject.bbox, np.float64)
    side = max(_REACH * float((box[2:] - box[:2]).max()), _LEAST_SIDE)
    if not seen:
        return 0.5 * (box[:2] + box[2:]), side
    points = np.asarray(subject.keypoints_2d, np.float64)[seen]
    low, high = points.min(0), points.max(0)
    return 0.5 * (low + high), max(side, 1.5 * float((high - low).max()))
