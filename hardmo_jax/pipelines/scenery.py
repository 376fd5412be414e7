"""What rendered people wear and stand in: flat colours by the joint that moves the skin, and a room with stripes."""

import itertools
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.rendering.scene import Mesh, vertex_normals
from hardmo_jax.rendering.scenes import DressableBody

Colour = tuple[float, float, float]
#: What covers a vertex.
CLOTHES = ("skin", "shirt", "trousers", "shoes")
_HALF_ROOM = 5
_WALL_HEIGHT = 8.0


def cloth_of_vertices(body: BodyModel) -> Int[np.ndarray, "V"]:
    """What covers each vertex, as places in `CLOTHES`, by the joint that moves it most."""

    def of_joint(name: str) -> int:
        if name.endswith(("hip", "knee")) or name == "pelvis":
            return CLOTHES.index("trousers")
        if name.endswith(("ankle", "foot")):
            return CLOTHES.index("shoes")
        is_of_trunk = name.startswith("spine") or name.endswith(("collar", "shoulder"))
        return CLOTHES.index("shirt" if is_of_trunk else "skin")

    return np.array([of_joint(name) for name in body.joint_names])[np.asarray(body.skinning_weights).argmax(1)]


def dressable_body(body: BodyModel) -> DressableBody:
    """A body's surface as `rendering.scenes` dresses it."""
    rest = np.asarray(body.template_planar, np.float64).T
    joints, weights = np.asarray(body.joint_template, np.float64), np.asarray(body.skinning_weights)
    of = weights.argmax(1)
    parents = np.asarray(body.parents)
    along = np.zeros(len(rest))
    for joint in range(len(joints)):
        children = np.flatnonzero(parents == joint)
        own = of == joint
        if body.joint_names[joint] == "head" or not len(children):
            low, high = (rest[own, 1].min(), rest[own, 1].max()) if own.any() else (0.0, 1.0)
            along[own] = (rest[own, 1] - low) / max(high - low, 1e-9)
            continue
        bone = joints[children[0]] - joints[joint]
        along[own] = (rest[own] - joints[joint]) @ bone / max(bone @ bone, 1e-12)
    return DressableBody(
        faces=np.asarray(body.faces),
        joint_of=tuple(body.joint_names[joint] for joint in of),
        along=along,
        height=rest[:, 1] - rest[:, 1].min(),
        front=rest[:, 2] - joints[of, 2],
    )


def clothed_meshes(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    cloth_of: Int[np.ndarray, "V"],
    colours: Sequence[Sequence[float]],
) -> list[Mesh]:
    """A person as a mesh a cloth.

    Args:
        vertices: In the camera's frame, metres.
        faces: Of the body.
        cloth_of: See `cloth_of_vertices`.
        colours: Of `CLOTHES`, red, green, blue from 0 to 1.
    """
    normals = vertex_normals(vertices, faces)
    return [
        Mesh(
            vertices_camera=vertices,
            faces=faces[cloth_of[faces[:, 0]] == cloth],
            colour=(colour[0], colour[1], colour[2]),
            normals=normals,
        )
        for cloth, colour in enumerate(colours)
    ]


def room_meshes(
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
    *,
    pillars: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = (),
) -> list[Mesh]:
    """Floor and walls of a room of ten metres with its middle at the world's origin, y up; a mesh a colour.

    Args:
        rotation: From the world to the camera.
        translation: Of the same.
        pillars: Place on the floor (x, z) and size of each, metres.
    """
    quads: dict[Colour, list[list[tuple[float | int, ...]]]] = {}

    def add(corners: list[tuple[float | int, ...]], colour: Colour) -> None:
        quads.setdefault(colour, []).append(corners)

    half, high = _HALF_ROOM, _WALL_HEIGHT
    for row, column in itertools.product(range(-half, half), range(-half, half)):
        shade = (0.62, 0.52, 0.42) if (row + column) % 2 else (0.56, 0.46, 0.37)
        add([(column, 0, row), (column + 1, 0, row), (column + 1, 0, row + 1), (column, 0, row + 1)], shade)
    for column in range(-half, half):
        shade = (0.82, 0.84, 0.86) if column % 2 else (0.76, 0.79, 0.82)
        add([(column, 0, -half), (column + 1, 0, -half), (column + 1, high, -half), (column, high, -half)], shade)
        add([(half, 0, column), (half, 0, column + 1), (half, high, column + 1), (half, high, column)], shade)
        add([(-half, 0, column), (-half, 0, column + 1), (-half, high, column + 1), (-half, high, column)], shade)
    for (x, z), (wide, deep) in pillars:
        left, right, near, far = x - wide / 2, x + wide / 2, z + deep / 2, z - deep / 2
        for (a, b), (c, d) in (
            ((left, near), (right, near)),
            ((right, near), (right, far)),
            ((left, far), (left, near)),
        ):
            add([(a, 0, b), (c, 0, d), (c, high, d), (a, high, b)], (0.66, 0.62, 0.58))
    meshes = []
    for colour, corners in quads.items():
        points = np.array(corners, np.float64).reshape(-1, 3) @ rotation.T + translation
        first = 4 * np.arange(len(corners))[:, None, None]
        meshes.append(
            Mesh(
                vertices_camera=points,
                faces=(first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3),
                colour=colour,
            )
        )
    return meshes
