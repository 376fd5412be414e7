"""A contact sheet of motion capture beside the body that it was turned into: what flipped feet or hands are seen on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float, Int
from hardmo_jax.rendering import raster, scene
from hardmo_jax.rendering.scene import Renderer

_PAPER = 250
_DISTANCE = 4.2
_INK = (60, 60, 60)
#: Colours of the person's left and right, as in overlays.
_SIDES = {"l": (30, 90, 220), "r": (230, 120, 20)}


def draw_capture_sheet(
    vertices: Float[np.ndarray, "T V 3"],
    faces: Int[np.ndarray, "F 3"],
    joints: Float[np.ndarray, "T J 3"],
    parents: Sequence[int],
    joint_names: Sequence[str],
    *,
    cell: int = 260,
    renderer: Renderer | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw bodies in a row, the captured skeleton over them and once more below.

    Args:
        vertices: Bodies in the world, metres, y up.
        faces: Their triangles.
        joints: Captured joints in the same world.
        parents: Parent of each joint, -1 for the root.
        joint_names: Names of the captured joints: those that begin with l or left are blue, with r or right orange.
        cell: Side of a picture, pixels.
        renderer: None for the best that works.

    Returns:
        RGB, 0 to 255: two rows of pictures, seen from the front and a little from the person's left.
    """
    import cv2

    renderer = renderer or raster.choose_renderer()
    axes = np.array([[0.866, 0.0, -0.5], [0.0, -1.0, 0.0], [-0.5, 0.0, -0.866]])
    focal_length = 1.9 * cell
    view = scene.View(
        focal_length=np.full(2, focal_length), principal_point=np.full(2, cell / 2), width=cell, height=cell
    )
    columns = []
    for mesh, skeleton in zip(np.asarray(vertices, np.float64), np.asarray(joints, np.float64), strict=True):
        middle = 0.5 * (mesh.min(axis=0) + mesh.max(axis=0))
        posed = (mesh - middle) @ axes.T + [0.0, 0.0, _DISTANCE]
        drawn = renderer.render([scene.Mesh(vertices_camera=posed, faces=np.asarray(faces))], view).astype(np.float64)
        cover = drawn[..., 3:] / 255
        body = np.ascontiguousarray((drawn[..., :3] * cover + _PAPER * (1 - cover)).astype(np.uint8))
        alone = np.full_like(body, _PAPER)
        places = (skeleton - middle) @ axes.T + [0.0, 0.0, _DISTANCE]
        pixels = np.round(places[:, :2] / places[:, 2:] * focal_length + cell / 2).astype(int)
        for picture, width in ((body, 1), (alone, 2)):
            for joint, parent in enumerate(parents):
                if parent >= 0:
                    start, end = pixels[parent].tolist(), pixels[joint].tolist()
                    cv2.line(picture, start, end, _colour(joint_names[joint]), width, cv2.LINE_AA)
        columns.append(np.concatenate([body, alone]))
    return np.concatenate(columns, axis=1)


def _colour(name: str) -> tuple[int, int, int]:
    """By side: captures write `lShldr`, `LeftArm`, `lfemur`, but `lowerback` is in the middle."""
    lower = name.lower().removeprefix("mixamorig:")
    return _INK if lower.startswith(("lower", "root")) else _SIDES.get(lower[:1], _INK)
