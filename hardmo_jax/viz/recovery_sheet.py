"""A sheet of people recovered in two ways, before the camera and from the side, where depth shows."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float, Int
from hardmo_jax.rendering import raster, scene
from hardmo_jax.rendering.scene import Renderer
from hardmo_jax.viz import overlay

#: Grey of what pictures are drawn on where there is no photo.
PAPER = 248
_SIDE_DISTANCE = 4.6
#: Of the picture's width: how much of it a person of `_SIDE_REACH` metres fills in the view from the side.
_SIDE_REACH = 2.2
#: Of bodies whose place is known.
TRUTH_COLOUR = (0.45, 0.75, 0.45)
_CROP_MARGIN = 1.25
_TITLE_HEIGHT = 26


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveryColumn:
    """One person."""

    title: str
    image: UInt8[np.ndarray, "H W 3"] | None
    """Picture; None draws on paper, as where its licence does not let it be shown."""
    image_size: tuple[int, int]
    """Width and height in pixels."""
    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels."""
    confidence: Float[np.ndarray, "K"]
    layout: str
    focal_length: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    vertices: tuple[Float[np.ndarray, "V 3"], ...]
    """The person in each way, camera frame, metres."""
    truth: Float[np.ndarray, "V 3"] | None = None
    """Drawn in green beside the others in the view from the side."""


def draw_recovery_sheet(
    columns: Sequence[RecoveryColumn],
    faces: Int[np.ndarray, "F 3"],
    names: Sequence[str],
    *,
    cell: int = 210,
    renderer: Renderer | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw people in columns: what was measured, then each way before the camera, then each way from the side.

    Args:
        columns: People.
        faces: Triangles of the body.
        names: Of the ways, in the order of `RecoveryColumn.vertices`.
        cell: Side of a picture, pixels.
        renderer: None for the best that works.

    Returns:
        RGB, 0 to 255. The side is that of the person's own camera turned by a right angle about its vertical.
    """
    renderer = renderer or raster.choose_renderer()
    rows = [f"{way}{view}" for view in ("", ", from the side") for way in names]
    drawn = []
    for column in columns:
        pictures = [_title(column.title, cell), _front(column, None, faces, cell, renderer)]
        for vertices in column.vertices:
            pictures.append(_front(column, vertices, faces, cell, renderer))
        for vertices in column.vertices:
            pictures.append(_side(vertices, column.truth, faces, cell, renderer))
        drawn.append(np.concatenate(pictures))
    labels = [_title("", cell), *(_label(text, cell) for text in ("measured", *rows))]
    return np.concatenate([np.concatenate(labels), *drawn], axis=1)


def _front(
    column: RecoveryColumn, vertices: np.ndarray | None, faces: np.ndarray, cell: int, renderer: Renderer
) -> UInt8[np.ndarray, "cell cell 3"]:
    """The person in the picture, cut out around the keypoints."""
    import cv2

    points = column.keypoints_2d[column.confidence > 0]
    low, high = points.min(axis=0), points.max(axis=0)
    middle, side = 0.5 * (low + high), _CROP_MARGIN * float((high - low).max())
    scale = cell / side
    shift = np.array([[scale, 0, 0.5 * cell - scale * middle[0]], [0, scale, 0.5 * cell - scale * middle[1]]])
    paper = np.full((cell, cell, 3), PAPER, np.uint8)
    if column.image is not None:
        paper = cv2.warpAffine(
            column.image, shift, (cell, cell), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAPER,) * 3,
        )  # fmt: skip
    paper = np.ascontiguousarray(paper)
    person = overlay.OverlayPerson(
        track_id=0,
        vertices_camera=vertices,
        faces=None if vertices is None else faces,
        keypoints_2d=column.keypoints_2d * scale + shift[:, 2],
        confidence=column.confidence,
        layout=column.layout,
    )
    style = overlay.OverlayStyle(side_by_side=False, show_keypoints=vertices is None)
    return overlay.draw_overlay(
        paper,
        [person],
        focal_length=column.focal_length * scale,
        principal_point=column.principal_point * scale + shift[:, 2],
        renderer=renderer,
        style=style,
    )


def _side(
    vertices: Float[np.ndarray, "V 3"], truth: np.ndarray | None, faces: np.ndarray, cell: int, renderer: Renderer
) -> UInt8[np.ndarray, "cell cell 3"]:
    """The person from the camera's right, as it stands; truth behind it, centred like it."""
    axes = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    focal_length = cell * _SIDE_DISTANCE / _SIDE_REACH
    view = scene.View(
        focal_length=np.full(2, focal_length), principal_point=np.full(2, 0.5 * cell), width=cell, height=cell
    )
    meshes = []
    for mesh, colour in ((vertices, scene.DEFAULT_COLOUR), (truth, TRUTH_COLOUR)):
        if mesh is None:
            continue
        centred = (np.asarray(mesh, np.float64) - np.mean(mesh, axis=0)) @ axes.T + [0.0, 0.0, _SIDE_DISTANCE]
        meshes.append(scene.Mesh(vertices_camera=centred, faces=faces, colour=colour))
    picture = np.full((cell, cell, 3), float(PAPER))
    for mesh, opacity in zip(reversed(meshes), (1.0,) if len(meshes) == 1 else (1.0, 0.75), strict=True):
        drawn = renderer.render([mesh], view).astype(np.float64)
        cover = opacity * drawn[..., 3:] / 255
        picture = drawn[..., :3] * cover + picture * (1 - cover)
    return picture.astype(np.uint8)


def _title(text: str, width: int) -> UInt8[np.ndarray, "h w 3"]:
    return written(text, width, _TITLE_HEIGHT)


def _label(text: str, cell: int) -> UInt8[np.ndarray, "h w 3"]:
    return written(text, cell, cell)


def written(text: str, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """Words on paper; a comma begins a new line."""
    import cv2

    paper = np.full((height, width, 3), PAPER, np.uint8)
    for line, words in enumerate(text.split(", ")):
        cv2.putText(
            paper, words, (6, 17 + 20 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA
        )  # fmt: skip
    return paper
