"""Our own body-model file: one `.npz` of plain arrays that holds any model of the family and loads quickly.

What a published file spells out is stored as it is computed with: bases in planar order and float32, the joint
regressor (float64) and the skinning weights as the few entries that are not zero. A checksum over all arrays is
compared when the file is read; the checksum of the file it was made from is what labels cite. NumPy only.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.body.arrays import (
    BodyArrays,
    FaceArrays,
    HandArrays,
    check_barycentric,
    check_faces,
    check_shape,
    check_weights,
    slice_columns,
)
from hardmo_jax.body.families import FAMILIES, GENDERS, HAND_POSE_JOINTS
from hardmo_jax.skeleton import layouts

FORMAT_KEY = "hardmo_jax_body"
"""Array that marks the format; it holds the version."""
FORMAT_VERSION = 1
_TEXT_KEYS = ("family", "gender", "source", "source_sha256", "content_sha256")
_FACE_KEYS = ("face_triangles", "face_coordinates")
_OPTIONAL_KEYS = (
    "pose_basis", *_FACE_KEYS, "left_hand_mean", "left_hand_components", "right_hand_mean", "right_hand_components",
)  # fmt: skip
_ARRAY_KEYS = (
    "template", "shape_basis", "num_expression", "faces", "regressor_rows", "regressor_columns", "regressor_values",
    "weight_joints", "weight_values",
)  # fmt: skip
KEYS = (FORMAT_KEY, *_TEXT_KEYS, *_ARRAY_KEYS, *_OPTIONAL_KEYS)
"""Every array that the format knows."""


def write_compact(path: str | os.PathLike[str], arrays: BodyArrays) -> Path:
    """Write a model, all of the coefficients it was loaded with.

    The file appears under its name only when it is complete.

    Args:
        path: Name of the file; must end in `.npz`.
        arrays: What `io.load_arrays` read.

    Returns:
        The path.

    Raises:
        ValueError: If the name does not end in `.npz`.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"a compact body model is an .npz file, got {path.name}")
    rows, columns = np.nonzero(arrays.joint_regressor)
    joints, shares = _sparse_weights(np.asarray(arrays.skinning_weights))
    stored: dict[str, np.ndarray] = {
        FORMAT_KEY: np.array(FORMAT_VERSION, np.int32),
        "family": np.array(arrays.family),
        "gender": np.array(arrays.gender),
        "source": np.array(arrays.source),
        "source_sha256": np.array(arrays.checksum),
        "template": _float32(arrays.vertices_template.T),
        "shape_basis": _float32(arrays.shape_basis.transpose(2, 1, 0)),
        "num_expression": np.array(arrays.num_expression, np.int32),
        "faces": arrays.faces,
        "regressor_rows": rows.astype(np.int32),
        "regressor_columns": columns.astype(np.int32),
        "regressor_values": np.asarray(arrays.joint_regressor, np.float64)[rows, columns],
        "weight_joints": joints,
        "weight_values": shares,
    }
    if arrays.pose_basis is not None:
        stored["pose_basis"] = _float32(arrays.pose_basis.transpose(2, 1, 0))
    for side, space in arrays.hands:
        stored |= {f"{side}_hand_mean": _float32(space.mean), f"{side}_hand_components": _float32(space.components)}
    if arrays.face is not None:
        stored |= dict(zip(_FACE_KEYS, arrays.face, strict=True))
    stored["content_sha256"] = np.array(_content_sha256(stored))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, **stored)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def from_compact(
    stored: dict[str, np.ndarray], source: str, *, num_betas: int | None, num_expression: int | None
) -> BodyArrays:
    """Check what `write_compact` wrote and give it its names again.

    Args:
        stored: Arrays of the archive.
        source: Name of the file, for messages.
        num_betas: Shape coefficients to keep; None keeps all.
        num_expression: Expression coefficients to keep; None keeps up to ten.

    Raises:
        BodyFileError: If the content does not match its checksum, or anything in it is out of place.
    """
    version = stored[FORMAT_KEY]
    if version.shape != () or version.dtype.kind not in "iu" or int(version) != FORMAT_VERSION:
        raise BodyFileError(
            f"{source}: version {version!s:.20} of the compact format, this package reads {FORMAT_VERSION}; "
            "prepare the published file again with tools.prepare_body"
        )
    missing = [key for key in (*_TEXT_KEYS, *_ARRAY_KEYS) if key not in stored]
    if missing:
        raise BodyFileError(f"{source}: {', '.join(missing)} missing from the compact body model")
    text = {}
    for key in _TEXT_KEYS:
        if stored[key].shape != () or stored[key].dtype.kind != "U":
            raise BodyFileError(f"{source}: {key} must be one text")
        text[key] = str(stored[key])
    if text["content_sha256"] != _content_sha256(stored):
        raise BodyFileError(f"{source}: the content does not match its checksum; prepare or copy it again")
    if text["family"] not in FAMILIES or text["gender"] not in (*GENDERS, "unknown"):
        raise BodyFileError(f"{source}: family {text['family']!a:.20} or gender {text['gender']!a:.20} is unknown")
    family = FAMILIES[text["family"]]
    _check_numbers(stored, source)
    num_vertices = stored["template"].shape[-1] if stored["template"].ndim == 2 else 0
    shapes: dict[str, tuple[int | str, ...]] = {
        "template": (3, "V"),
        "shape_basis": ("C", 3, num_vertices),
        "faces": ("F", 3),
        "weight_joints": (num_vertices, "W"),
        "weight_values": stored["weight_joints"].shape,
        "regressor_rows": ("N",),
        "regressor_columns": stored["regressor_rows"].shape,
        "regressor_values": stored["regressor_rows"].shape,
        "num_expression": (),
        "pose_basis": (9 * (family.num_joints - 1), 3, num_vertices),
        **{key: (len(layouts.FACE51), 3) for key in _FACE_KEYS},
        **{f"{side}_hand_mean": (HAND_POSE_JOINTS, 3) for side in ("left", "right")},
        **{f"{side}_hand_components": ("N", HAND_POSE_JOINTS, 3) for side in ("left", "right")},
    }
    for key, shape in shapes.items():
        if key in stored:
            check_shape(stored[key], shape, key, source)
    faces = check_faces(stored["faces"], num_vertices, source)
    kept = int(stored["num_expression"])
    if not 0 <= kept < len(stored["shape_basis"]):
        raise BodyFileError(f"{source}: num_expression is {kept} of {len(stored['shape_basis'])} coefficients")
    basis, num_expression = slice_columns(
        stored["shape_basis"].transpose(2, 1, 0),
        len(stored["shape_basis"]) - kept,
        num_betas=num_betas,
        num_expression=num_expression,
        source=source,
    )
    is_published_mesh = (num_vertices, len(faces)) == family.topology
    return BodyArrays(
        family=text["family"],
        gender=text["gender"],
        vertices_template=stored["template"].T,
        shape_basis=basis,
        num_expression=num_expression,
        pose_basis=stored["pose_basis"].transpose(2, 1, 0) if "pose_basis" in stored else None,
        joint_regressor=_dense_regressor(stored, family.num_joints, num_vertices, source),
        skinning_weights=_dense_weights(stored, family.num_joints, source),
        faces=faces,
        parents=family.parents,
        joint_names=family.joint_names,
        landmark_vertex_ids=family.landmark_vertex_ids if is_published_mesh else (),
        hands=tuple(
            (side, HandArrays(stored[f"{side}_hand_mean"], stored[f"{side}_hand_components"]))
            for side in family.hand_sides
            if f"{side}_hand_mean" in stored and f"{side}_hand_components" in stored
        ),
        face=_face(stored, num_vertices, source),
        checksum=text["source_sha256"],
        source=text["source"],
    )


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _content_sha256(stored: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(stored):
        if key != "content_sha256":
            array = np.ascontiguousarray(stored[key])
            digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data if array.dtype.kind != "U" else array.tobytes())
    return digest.hexdigest()


def _check_numbers(stored: dict[str, np.ndarray], source: str) -> None:
    integers = {"faces", "regressor_rows", "regressor_columns", "weight_joints", "num_expression", "face_triangles"}
    for key, array in stored.items():
        if key in _TEXT_KEYS or key == FORMAT_KEY:
            continue
        if array.dtype.kind not in ("iu" if key in integers else "f"):
            raise BodyFileError(f"{source}: {key} must be {'integers' if key in integers else 'floats'}")
        if key not in integers and not np.isfinite(array).all():
            raise BodyFileError(f"{source}: {key} has values that are NaN or infinite")


def _sparse_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints and shares of each vertex, padded with shares of zero."""
    width = max(int((weights != 0).sum(1).max()), 1)
    order = np.argsort(weights == 0, axis=1, kind="stable")[:, :width]
    return order.astype(np.uint8), np.take_along_axis(weights, order, axis=1).astype(np.float32)


def _dense_weights(stored: dict[str, np.ndarray], num_joints: int, source: str) -> np.ndarray:
    joints, shares = stored["weight_joints"], stored["weight_values"]
    if joints.min() < 0 or joints.max() >= num_joints:
        raise BodyFileError(f"{source}: weight_joints names a joint outside the model")
    dense = np.zeros((len(joints), num_joints), np.float32)
    np.add.at(dense, (np.arange(len(joints))[:, None], joints), shares)
    return check_weights(dense, source)


def _dense_regressor(stored: dict[str, np.ndarray], num_joints: int, num_vertices: int, source: str) -> np.ndarray:
    rows, columns = stored["regressor_rows"], stored["regressor_columns"]
    for index, size in ((rows, num_joints), (columns, num_vertices)):
        if index.min() < 0 or index.max() >= size:
            raise BodyFileError(f"{source}: the joint regressor has an entry outside the model")
    dense = np.zeros((num_joints, num_vertices))
    dense[rows, columns] = stored["regressor_values"]
    return dense


def _face(stored: dict[str, np.ndarray], num_vertices: int, source: str) -> FaceArrays | None:
    if not all(key in stored for key in _FACE_KEYS):
        return None
    triangles, coordinates = (stored[key] for key in _FACE_KEYS)
    if triangles.min() < 0 or triangles.max() >= num_vertices:
        raise BodyFileError(f"{source}: a face point lies outside the mesh")
    return FaceArrays(triangles, check_barycentric(coordinates, source))
