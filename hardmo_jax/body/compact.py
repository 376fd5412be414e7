"""Our own body-model file: one `.npz` of plain arrays that holds any model of the family and loads quickly.

What a published file spells out is stored as it is computed with: bases in planar order and float32, the joint
regressor (float64) and the skinning weights as the few entries that are not zero. A checksum over all arrays is
compared when the file is read, so that what was changed is refused; it is no signature, and who means to deceive can
write a new one. The checksum of the file it was made from is what labels cite. NumPy only.
"""

import hashlib
import os
import re
import secrets
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
    few_bones,
    frozen,
)
from hardmo_jax.body.families import FAMILIES, GENDERS, HAND_POSE_JOINTS, HAND_SIDES
from hardmo_jax.skeleton import layouts

FORMAT_KEY = "hardmo_jax_body"
"""Array that marks the format; it holds the version."""
FORMAT_VERSION = 1
SEAL_KEY = "content_sha256"
"""Array that holds the checksum over all others."""
_UNSAFE = r"[/\\\x00-\x1f\x7f]"
_MAX_NAME = 255
#: What each text must look like. They end up in messages, labels and file names.
_TEXTS = {
    "family": re.compile("|".join(FAMILIES)),
    "gender": re.compile("|".join((*GENDERS, "unknown"))),
    "source": re.compile(rf"((?!{_UNSAFE}).){{1,{_MAX_NAME}}}"),
    "source_sha256": re.compile("[0-9a-f]{64}"),
    SEAL_KEY: re.compile("[0-9a-f]{64}"),
}
_FACE_KEYS = ("face_triangles", "face_coordinates")
_OPTIONAL_KEYS = (*_FACE_KEYS, *(f"{side}_hand_{part}" for side in HAND_SIDES for part in ("mean", "components")))
_ARRAY_KEYS = (
    "template", "shape_basis", "num_expression", "pose_basis", "faces", "regressor_rows", "regressor_columns",
    "regressor_values", "weight_joints", "weight_values",
)  # fmt: skip
_INTEGER_KEYS = {"num_expression", "faces", "regressor_rows", "regressor_columns", "weight_joints", "face_triangles"}
_PREPARE = "prepare the published file again with tools.prepare_body"
KEYS = (FORMAT_KEY, *_TEXTS, *_ARRAY_KEYS, *_OPTIONAL_KEYS)
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
        ValueError: If the name does not end in `.npz`, or the model has no pose blend shapes, as the open body.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"a compact body model is an .npz file, got {path.name}")
    if arrays.pose_basis is None:
        raise ValueError(f"{arrays.source} has no pose blend shapes; only published models are made compact")
    rows, columns = np.nonzero(arrays.joint_regressor)
    joints, shares = few_bones(np.asarray(arrays.skinning_weights))
    stored: dict[str, np.ndarray] = {
        FORMAT_KEY: np.array(FORMAT_VERSION, np.int32),
        "family": np.array(arrays.family),
        "gender": np.array(arrays.gender),
        "source": np.array(re.sub(_UNSAFE, "_", arrays.source)[:_MAX_NAME]),
        "source_sha256": np.array(arrays.checksum),
        "template": _float32(arrays.vertices_template.T),
        "shape_basis": _float32(arrays.shape_basis.transpose(2, 1, 0)),
        "num_expression": np.array(arrays.num_expression, np.int32),
        "pose_basis": _float32(arrays.pose_basis.transpose(2, 1, 0)),
        "faces": arrays.faces,
        "regressor_rows": rows.astype(np.int32),
        "regressor_columns": columns.astype(np.int32),
        "regressor_values": np.asarray(arrays.joint_regressor, np.float64)[rows, columns],
        "weight_joints": joints.astype(np.uint8),
        "weight_values": _float32(shares),
    }
    for side, space in arrays.hands:
        stored |= {f"{side}_hand_mean": _float32(space.mean), f"{side}_hand_components": _float32(space.components)}
    if arrays.face is not None:
        stored |= dict(zip(_FACE_KEYS, arrays.face, strict=True))
    stored[SEAL_KEY] = np.array(_content_sha256(stored))
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name nobody can foresee, and only if it is new: the folder may be shared.
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with scratch.open("xb") as file:
            np.savez(file, allow_pickle=False, **stored)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def from_compact(stored: dict[str, np.ndarray], source: str) -> BodyArrays:
    """Check what `write_compact` wrote and give it its names again.

    Args:
        stored: Arrays of the archive.
        source: Name of the file, for messages.

    Returns:
        The model with all of the coefficients that the file has.

    Raises:
        BodyFileError: If the content does not match its checksum, or anything in it is out of place.
    """
    version = stored[FORMAT_KEY]
    if version.shape != () or version.dtype.kind not in "iu" or int(version) != FORMAT_VERSION:
        raise BodyFileError(
            f"{source}: version {str(version)[:20]!a} of the compact format, this package reads {FORMAT_VERSION}; "
            f"update hardmo_jax, or {_PREPARE}"
        )
    missing = [key for key in (*_TEXTS, *_ARRAY_KEYS) if key not in stored]
    if missing:
        raise BodyFileError(f"{source}: {', '.join(missing)} missing from the compact body model; {_PREPARE}")
    text = {key: _text(stored[key], key, source) for key in _TEXTS}
    if text[SEAL_KEY] != _content_sha256(stored):
        raise BodyFileError(
            f"{source}: the content does not match its checksum, so it was changed or damaged; copy it again, or "
            f"{_PREPARE}"
        )
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
        **{f"{side}_hand_mean": (HAND_POSE_JOINTS, 3) for side in HAND_SIDES},
        **{f"{side}_hand_components": ("N", HAND_POSE_JOINTS, 3) for side in HAND_SIDES},
    }
    for key, shape in shapes.items():
        if key in stored:
            check_shape(stored[key].shape, shape, key, source, hint=f"; {_PREPARE}")
    faces = check_faces(stored["faces"], num_vertices, source)
    num_expression, columns = int(stored["num_expression"]), len(stored["shape_basis"])
    if not 0 <= num_expression < columns or (num_expression and not family.expression_start):
        raise BodyFileError(
            f"{source}: num_expression is {num_expression} of {columns} coefficients of {family.title}; {_PREPARE}"
        )
    is_published_mesh = (num_vertices, len(faces)) == family.topology
    return BodyArrays(
        family=text["family"],
        gender=text["gender"],
        vertices_template=stored["template"].T,
        shape_basis=stored["shape_basis"].transpose(2, 1, 0),
        num_expression=num_expression,
        pose_basis=stored["pose_basis"].transpose(2, 1, 0),
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


def _text(array: np.ndarray, key: str, source: str) -> str:
    text = str(array) if array.shape == () and array.dtype.kind == "U" else ""
    if not _TEXTS[key].fullmatch(text):
        raise BodyFileError(f"{source}: {key} is {text[:40]!a}, which no compact body model says; {_PREPARE}")
    return text


def _content_sha256(stored: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(stored):
        if key != SEAL_KEY:
            array = np.ascontiguousarray(stored[key])
            digest.update(f"{key} {array.dtype.str} {stored[key].shape}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_numbers(stored: dict[str, np.ndarray], source: str) -> None:
    for key, array in stored.items():
        if key in _TEXTS or key == FORMAT_KEY:
            continue
        if array.dtype.kind not in ("iu" if key in _INTEGER_KEYS else "f"):
            kind = "integers" if key in _INTEGER_KEYS else "floats"
            raise BodyFileError(f"{source}: {key} must be {kind}, got {array.dtype}; {_PREPARE}")
        if key not in _INTEGER_KEYS and not np.isfinite(array).all():
            raise BodyFileError(f"{source}: {key} has values that are NaN or infinite; {_PREPARE}")


def _dense_weights(stored: dict[str, np.ndarray], num_joints: int, source: str) -> np.ndarray:
    joints = stored["weight_joints"]
    _check_indices(joints, num_joints, "weight_joints", source)
    if joints.shape[1] > num_joints:
        raise BodyFileError(f"{source}: weight_joints has {joints.shape[1]} columns for {num_joints}; {_PREPARE}")
    dense = np.zeros((len(joints), num_joints), np.float32)
    # A joint that is named twice keeps one share, and the row no longer sums to one.
    np.put_along_axis(dense, joints.astype(np.int64), stored["weight_values"], axis=1)
    return frozen(check_weights(dense, source))


def _dense_regressor(stored: dict[str, np.ndarray], num_joints: int, num_vertices: int, source: str) -> np.ndarray:
    rows, columns = stored["regressor_rows"], stored["regressor_columns"]
    if len(rows) > num_joints * num_vertices:
        raise BodyFileError(f"{source}: regressor_rows has more entries than the regressor; {_PREPARE}")
    _check_indices(rows, num_joints, "regressor_rows", source)
    _check_indices(columns, num_vertices, "regressor_columns", source)
    dense = np.zeros((num_joints, num_vertices))
    dense[rows, columns] = stored["regressor_values"]
    return frozen(dense)


def _face(stored: dict[str, np.ndarray], num_vertices: int, source: str) -> FaceArrays | None:
    if not all(key in stored for key in _FACE_KEYS):
        return None
    triangles, coordinates = (stored[key] for key in _FACE_KEYS)
    _check_indices(triangles, num_vertices, "face_triangles", source)
    return FaceArrays(triangles, check_barycentric(coordinates, source))


def _check_indices(indices: np.ndarray, size: int, key: str, source: str) -> None:
    if indices.min() < 0 or indices.max() >= size:
        raise BodyFileError(
            f"{source}: {key} goes from {indices.min()} to {indices.max()}, the model has 0 to {size - 1}; {_PREPARE}"
        )
