"""The mesh of a body cut into the parts that labels speak of: body, feet and hands."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshPart:
    """Some of the faces of a body."""

    vertices: Int[np.ndarray, "W"]
    """Which vertices of the body they use."""
    faces: Int[np.ndarray, "G 3"]
    """Corners as places among these."""


def mesh_parts(body: BodyModel) -> dict[str, MeshPart]:
    """Faces of each of `layouts.PARTS`, cut where ankles and wrists begin to carry them.

    Args:
        body: A whole body.
    """
    part_of_joint = np.array([layouts.PARTS.index(_part_of_joint(name)) for name in body.joint_names])
    part_of_vertex = part_of_joint[np.asarray(body.skinning_weights).argmax(1)]
    faces = np.asarray(body.faces)
    # Where a face has corners of two parts it belongs to the one that two of its corners do.
    part_of_face = np.median(part_of_vertex[faces], axis=1).astype(int)
    found = {}
    for index, part in enumerate(layouts.PARTS):
        own = faces[part_of_face == index]
        vertices, places = np.unique(own, return_inverse=True)
        found[part] = MeshPart(vertices=vertices, faces=places.reshape(-1, 3))
    return found


def _part_of_joint(name: str) -> str:
    side, _, kind = name.partition("_")
    if kind in ("ankle", "foot"):
        return f"{side}_foot"
    is_finger = any(name in names[1:] for names in layouts.MANO_JOINTS.values())
    return f"{side}_hand" if kind in ("wrist", "hand") or is_finger else "body"
