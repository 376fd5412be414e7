"""The layout of published body-model files: the keys of SMPL, SMPL-H, SMPL-X and MANO to checked arrays."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from hardmo_jax.body.array_files import WHERE, BodyFileError
from hardmo_jax.body.arrays import (
    BodyArrays,
    FaceArrays,
    HandArrays,
    check_barycentric,
    check_faces,
    check_shape,
    check_weights,
    frozen,
    frozen_floats,
    number_array,
    shaped_array,
)
from hardmo_jax.body.families import FAMILIES, HAND_POSE_JOINTS, HAND_SIDES, Family
from hardmo_jax.skeleton import layouts

_REQUIRED_KEYS = (
    "v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table",
)  # fmt: skip
_HAND_KEYS = ("hands_mean", "hands_components")
_FACE_KEYS = ("lmk_faces_idx", "lmk_bary_coords")
_OPTIONAL_KEYS = (*_HAND_KEYS, *(f"{key}{side[0]}" for key in _HAND_KEYS for side in HAND_SIDES), *_FACE_KEYS)
_OPEN_BODY_KEY = "weights_index"
KEYS = (*_REQUIRED_KEYS, *_OPTIONAL_KEYS, _OPEN_BODY_KEY)
"""Every array that is looked at; files hold others."""
_OTHER_FAMILIES = {5: "FLAME", 33: "SMAL"}
#: Largest extent of a mesh in rest pose, metres: of a small hand, and of nobody.
_LEAST_EXTENT, _MOST_EXTENT = 0.05, 5.0
_REGRESSOR_SUM_TOLERANCE = 0.05
#: What files write for "no parent": -1, or -1 stored in an unsigned type.
_NO_PARENT = (-1, 2**32 - 1, 2**64 - 1)


def from_published(
    arrays: Mapping[str, Any], data: memoryview, *, source: str, gender: str, side: str | None
) -> BodyArrays:
    """Check the arrays of a file and give them our names.

    Args:
        arrays: Content of the file by its published keys.
        data: The whole file, for its checksum.
        source: Name of the file.
        gender: What labels will say.
        side: Which hand a MANO file holds, if anything says.

    Returns:
        The model with all of its coefficients.

    Raises:
        BodyFileError: If the content is no model of the family, or a damaged one.
    """
    if _OPEN_BODY_KEY in arrays:
        raise BodyFileError(f"{source} is this package's open body; use hm.open_body() instead")
    name = _read_family(arrays, source, side)
    family = FAMILIES[name]
    missing = [key for key in _REQUIRED_KEYS if key not in arrays]
    if missing:
        raise BodyFileError(
            f"{source}: {', '.join(missing)} missing from the model (it has {_key_list(arrays)}); {WHERE}"
        )

    def read(key: str, *shape: int | str) -> np.ndarray:
        return shaped_array(arrays[key], shape, key, source, hint=_shape_hint(arrays[key], key, family))

    num_joints = family.num_joints
    template = read("v_template", "V", 3)
    num_vertices = len(template)
    shape_basis = read("shapedirs", num_vertices, 3, "S")
    pose_basis = read("posedirs", num_vertices, 3, 9 * (num_joints - 1))
    regressor = read("J_regressor", num_joints, num_vertices)
    _check_scale(template, regressor, source)
    weights = read("weights", num_vertices, num_joints)
    faces = check_faces(read("f", "F", 3), num_vertices, source)
    columns = int(shape_basis.shape[-1])
    is_published_mesh = (num_vertices, len(faces)) == family.topology
    return BodyArrays(
        family=name,
        gender=gender,
        vertices_template=frozen_floats(template),
        shape_basis=frozen_floats(shape_basis),
        num_expression=columns - dict(family.expression_start).get(columns, columns),
        pose_basis=frozen_floats(pose_basis),
        joint_regressor=frozen(regressor.astype(np.float64)),
        skinning_weights=check_weights(frozen_floats(weights), source),
        faces=faces,
        parents=family.parents,
        joint_names=family.joint_names,
        landmark_vertex_ids=family.landmark_vertex_ids if is_published_mesh else (),
        hands=_read_hands(arrays, family, source),
        face=_read_face(arrays, faces, source) if name == "smplx" else None,
        checksum=hashlib.sha256(data).hexdigest(),
        source=source,
    )


def _check_scale(template: np.ndarray, regressor: np.ndarray, source: str) -> None:
    """Raise `BodyFileError` unless the mesh is a person, or a hand, in metres and joints are averages of vertices."""
    extent = float(np.ptp(template.astype(np.float64), axis=0).max())
    if not _LEAST_EXTENT < extent < _MOST_EXTENT:
        raise BodyFileError(
            f"{source}: v_template is {extent:.4g} across, so not a body in metres; divide it and the bases by the unit"
        )
    sums = regressor.sum(axis=1, dtype=np.float64)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > _REGRESSOR_SUM_TOLERANCE:
        raise BodyFileError(
            f"{source}: J_regressor must average vertices, the weights of joint {worst} sum to {sums[worst]:.4g}; "
            "download or copy it again"
        )


def _shape_hint(value: Any, key: str, family: Family) -> str:
    """What an array of another shape may be."""
    shape = tuple(getattr(value, "shape", ()))
    if key == "J_regressor" and len(shape) == 2 and shape[1] == family.num_joints:
        return "; it is stored transposed"
    if key == "posedirs" and shape[-1:] == (93,):
        return "; it is a STAR model, which is not supported"
    joints = {"posedirs": shape[-1:], "J_regressor": shape[:1], "weights": shape[-1:]}.get(key, ())
    for other in FAMILIES.values():
        size = 9 * (other.num_joints - 1) if key == "posedirs" else other.num_joints
        if other.num_joints != family.num_joints and joints == (size,):
            return f"; that is the size for {other.title}, and kintree_table is the tree of {family.title}"
    return "; download or copy it again"


def _read_hands(arrays: Mapping[str, Any], family: Family, source: str) -> tuple[tuple[str, HandArrays], ...]:
    """Mean and components of every articulated hand that the file has them of."""
    hands = []
    for side in family.hand_sides:
        suffix = side[0] if len(family.hand_sides) > 1 else ""
        mean_key, components_key = (f"{key}{suffix}" for key in _HAND_KEYS)
        if mean_key not in arrays or components_key not in arrays:
            continue
        shape = (HAND_POSE_JOINTS, 3)
        mean = number_array(arrays[mean_key], mean_key, source).reshape(-1)
        check_shape(mean.shape, (math.prod(shape),), mean_key, source)
        components = shaped_array(arrays[components_key], ("N", math.prod(shape)), components_key, source)
        space = HandArrays(frozen_floats(mean.reshape(shape)), frozen_floats(components.reshape(-1, *shape)))
        hands.append((side, space))
    return tuple(hands)


def _read_face(arrays: Mapping[str, Any], faces: Int[np.ndarray, "F 3"], source: str) -> FaceArrays | None:
    """The static face points of SMPL-X, or None if the file has none."""
    if any(key not in arrays for key in _FACE_KEYS):
        return None
    count = len(layouts.FACE51)
    indices, coordinates = (
        shaped_array(arrays[key], shape, key, source)
        for key, shape in zip(_FACE_KEYS, ((count,), (count, 3)), strict=True)
    )
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= len(faces):
        raise BodyFileError(
            f"{source}: lmk_faces_idx must be triangles of the mesh, integers from 0 to {len(faces) - 1}, got "
            f"{indices.dtype} from {indices.min()} to {indices.max()}; download or copy it again"
        )
    return FaceArrays(frozen(faces[indices]), check_barycentric(frozen_floats(coordinates), source))


def _key_list(arrays: Mapping[Any, Any], limit: int = 12) -> str:
    keys = sorted(ascii(key)[:40] for key in arrays)
    return ", ".join(keys[:limit] + (["..."] if len(keys) > limit else [])) or "nothing"


def _read_family(arrays: Mapping[str, Any], source: str, side: str | None) -> str:
    """Tell the family by the number of joints and check the kinematic tree against it."""
    if "kintree_table" not in arrays:
        raise BodyFileError(f"{source}: no kintree_table, so not a body model (it has {_key_list(arrays)}); {WHERE}")
    table = number_array(arrays["kintree_table"], "kintree_table", source)
    if table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iu":
        raise BodyFileError(f"{source}: kintree_table must be integers of shape (2, joints), got {_shape_text(table)}")
    num_joints = table.shape[1]
    names = [name for name, family in FAMILIES.items() if family.num_joints == num_joints]
    if not names:
        known = ", ".join(f"{family.title} {family.num_joints}" for family in FAMILIES.values())
        other = _OTHER_FAMILIES.get(num_joints)
        kind = f"a {other} model ({num_joints} joints), which is not supported" if other else f"{num_joints} joints"
        raise BodyFileError(f"{source}: {kind}; joints of what is read: {known}")
    if len(names) > 1:
        if side is None:
            raise BodyFileError(f"{source} is a MANO hand, and nothing says which: give side='left' or side='right'")
        names = [name for name in names if name.endswith(side)]
    family = FAMILIES[names[0]]
    parents = tuple(-1 if int(parent) in _NO_PARENT else int(parent) for parent in table[0])
    for joint, parent in enumerate(parents):
        if not (parent == -1 if joint == 0 else 0 <= parent < joint):
            raise BodyFileError(
                f"{source}: kintree_table is no tree from joint 0 outwards: joint {joint} has parent {parent}"
            )
    if table[1].tolist() != list(range(num_joints)):
        raise BodyFileError(f"{source}: the second row of kintree_table does not count 0, 1, 2, ...")
    if parents != family.parents:
        joint = next(j for j in range(num_joints) if parents[j] != family.parents[j])
        raise BodyFileError(
            f"{source}: kintree_table is not the tree of {names[0]}: joint {joint} "
            f"({family.joint_names[joint]}) hangs at {parents[joint]}, not {family.parents[joint]}"
        )
    return names[0]


def _shape_text(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
