"""Body-model files to NumPy arrays: SMPL and SMPL-H, as `.npz` or as the `.pkl` they are published in.

Everything is read into memory once, under caps, by readers that execute nothing: pickles by
`hardmo_jax.safe_pickle`, archives by the small `.npz` reader here, which never unpickles. What leaves this module
has been checked for shape, finiteness, a sound kinematic tree and weights that sum to one, so the layers above
trust it. No jax here. Vertices are metres in the model's own frame (rest pose, y up, face towards +z, left at +x).
SMPL-X and MANO files are recognised and refused by name; hand PCA is not read.
"""

import dataclasses
import hashlib
import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hardmo_jax import safe_pickle
from hardmo_jax.skeleton import layouts

BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parents of the 22 joints that SMPL and SMPL-H share, in the order of `layouts.SMPL_JOINTS`."""
_LEFT_WRIST, _RIGHT_WRIST = (layouts.SMPL_JOINTS.index(f"{side}_wrist") for side in layouts.SIDES)
#: Each finger is a chain of three joints that starts at the wrist.
_FINGER_PARENTS = tuple(
    wrist if joint % 3 == 0 else len(BODY_PARENTS) + 15 * side + joint - 1
    for side, wrist in enumerate((_LEFT_WRIST, _RIGHT_WRIST))
    for joint in range(15)
)
PARENTS = {
    "smpl": (*BODY_PARENTS, _LEFT_WRIST, _RIGHT_WRIST),
    "smplh": BODY_PARENTS + _FINGER_PARENTS,
}
"""Kinematic tree of each family, -1 for the root."""
JOINT_NAMES = {"smpl": layouts.SMPL_JOINTS, "smplh": layouts.SMPLH_JOINTS}
"""Joint names of each family in file order."""

_SMPL_NUM_VERTICES, _SMPL_NUM_FACES = 6890, 13776
#: Vertex ids of the named points on the 6890-vertex mesh, as published with the smplx package (0.1.28).
_SMPL_LANDMARKS: dict[str, int] = {
    "nose": 332, "right_eye": 6260, "left_eye": 2800, "right_ear": 4071, "left_ear": 583,
    "left_big_toe": 3216, "left_small_toe": 3226, "left_heel": 3387,
    "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
    "left_thumb_tip": 2746, "left_index_tip": 2319, "left_middle_tip": 2445,
    "left_ring_tip": 2556, "left_pinky_tip": 2673,
    "right_thumb_tip": 6191, "right_index_tip": 5782, "right_middle_tip": 5905,
    "right_ring_tip": 6016, "right_pinky_tip": 6133,
}  # fmt: skip

_REQUIRED_KEYS = (
    "v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table",
)  # fmt: skip
_OPEN_BODY_KEY = "weights_index"
_OTHER_FAMILIES = {55: "SMPL-X", 16: "MANO", 5: "FLAME", 33: "SMAL"}
_WEIGHT_SUM_TOLERANCE = 1e-3  # float16 exports are off by about 5e-4; a missing column by far more
#: What files write for "no parent": -1, or -1 stored in an unsigned type.
_NO_PARENT = (-1, 2**32 - 1, 2**64 - 1)

_MAX_ARCHIVE_MEMBERS = 256
_MAX_ARRAY_BYTES = 1 << 29  # all arrays of a file together; 300 float64 shape coefficients need 0.1 GB
_MAX_HEADER_BYTES = 10_000
_NPY_HEADER = re.compile(
    rb"\{\s*'descr':\s*'(?P<descr>[^']{1,32})',\s*'fortran_order':\s*(?P<fortran>True|False),\s*"
    rb"'shape':\s*\((?P<shape>[0-9L, ]{0,200})\),?\s*\}\s*"
)
_NPY_DESCR = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,4})", re.ASCII)
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip

_CONVERT = "convert it to .npz on a machine you trust"
_WHERE = "body_models/README.md says where to get one; hm.open_body() needs no file"


class BodyFileError(ValueError):
    """A file is not a body model this package reads, or is a damaged one."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BodyArrays:
    """Arrays of one body model as stored in its file, checked and read-only."""

    family: str
    """`smpl` (24 joints) or `smplh` (52 joints, articulated fingers)."""
    vertices_template: Float[np.ndarray, "V 3"]
    """Mean shape in rest pose, metres."""
    shape_basis: Float[np.ndarray, "V 3 S"]
    """Displacement by one standard deviation of each shape coefficient, metres."""
    pose_basis: Float[np.ndarray, "V 3 P"] | None
    """Displacement by each entry of the joint rotations minus identity, metres; None if there is none."""
    joint_regressor: Float[np.ndarray, "J V"]
    """Float64 weights that give the rest joints from the shaped vertices."""
    skinning_weights: Float[np.ndarray, "V J"]
    """Share of each joint in moving each vertex; rows sum to one."""
    faces: Int[np.ndarray, "F 3"]
    """Int32 triangles."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root; a parent comes before its children."""
    joint_names: tuple[str, ...]
    """Names of the joints in file order, see `skeleton.layouts`."""
    landmark_vertex_ids: tuple[tuple[str, int], ...]
    """Pairs of landmark name and vertex id; empty if the topology is unknown."""
    checksum: str
    """SHA-256 of the file, hexadecimal."""
    source: str
    """Name of the file, without its folder."""


def load_arrays(
    path: str | os.PathLike[str],
    *,
    num_betas: int | None = 10,
    max_file_bytes: int = safe_pickle.MAX_FILE_BYTES,
) -> BodyArrays:
    """Read an SMPL or SMPL-H model file.

    The format is told by the content, not by the ending of the name.

    Args:
        path: A `.npz` or `.pkl` file as published, or as converted from one.
        num_betas: Number of shape coefficients to keep; None keeps all that the file has.
        max_file_bytes: Largest file that is read.

    Returns:
        Checked arrays in the precision of the file (float32 or float64).

    Raises:
        FileNotFoundError: If nothing is at `path`.
        IsADirectoryError: If `path` is a folder; the message lists model files inside.
        BodyFileError: If the file is no SMPL or SMPL-H model, is damaged, or has fewer than
            `num_betas` coefficients.
        UnsafePickleError: If a pickle asks for more than arrays and plain values.
    """
    path = Path(path)
    data = _read_file(path, max_file_bytes)
    if data[:4] == b"PK\x03\x04":
        arrays: Mapping[str, Any] = read_npz(data, source=path.name, keys=(*_REQUIRED_KEYS, _OPEN_BODY_KEY))
    else:
        arrays = _read_pickle(data, path.name, max_file_bytes)
    return _body_arrays(arrays, data, path.name, num_betas)


def read_npz(data: bytes, *, source: str, keys: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of an `.npz` archive without ever unpickling.

    Headers are parsed by a pattern, and an archive's declared sizes are compared with the headers and the
    cap before anything is unpacked.

    Args:
        data: The whole archive.
        source: Name to use in messages.
        keys: Arrays to read if present; None reads all.

    Returns:
        Array by key, without the keys that are absent.

    Raises:
        BodyFileError: If the archive is damaged, names a member twice, is larger than the cap once
            unpacked, or holds objects under one of the keys.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_members(archive, source, keys)
    except BodyFileError:
        raise
    except _ARCHIVE_ERRORS as error:
        raise BodyFileError(
            f"{source}: damaged or cut-off .npz archive ({_one_line(error)}); download or copy it again"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


# ---- files ----------------------------------------------------------------------------------------------


def _read_file(path: Path, max_file_bytes: int) -> bytes:
    if path.is_dir():
        found = _candidates(path)
        inside = f"it holds {', '.join(found)}" if found else "it holds no .npz or .pkl file"
        raise IsADirectoryError(f"{path} is a folder where a body-model file is meant; {inside}")
    if not path.exists():
        beside = _candidates(path.parent)
        hint = f"the folder holds {', '.join(beside)}; " if beside else ""
        raise FileNotFoundError(
            f"no body model at {path} (an SMPL or SMPL-H .npz or .pkl file is expected); {hint}{_WHERE}"
        )
    try:
        data = safe_pickle.read_capped(path, max_file_bytes=max_file_bytes)
    except safe_pickle.UnsafePickleError as error:
        raise BodyFileError(str(error)) from error
    if not data:
        raise BodyFileError(f"{path.name}: the file is empty; download or copy it again")
    return data


def _candidates(folder: Path, limit: int = 8) -> list[str]:
    """Model files in a folder and one level below it."""
    if not folder.is_dir():
        return []
    found = [p for pattern in ("*", "*/*") for p in folder.glob(pattern)]
    names = sorted(str(p.relative_to(folder)) for p in found if p.suffix in (".npz", ".pkl"))
    return names[:limit] + (["..."] if len(names) > limit else [])


def _read_pickle(data: bytes, source: str, max_file_bytes: int) -> dict[str, Any]:
    kind = safe_pickle.foreign_format(data)
    if kind is not None:
        raise BodyFileError(
            f"{source} is {kind}, not a body model; an SMPL or SMPL-H .npz or .pkl file is expected; {_WHERE}"
        )
    try:
        arrays = safe_pickle.loads(data, source=source, max_file_bytes=max_file_bytes)
    except safe_pickle.CorruptPickleError as error:
        raise BodyFileError(f"{error}; an SMPL or SMPL-H .npz or .pkl file is expected") from error
    if not isinstance(arrays, dict):
        raise BodyFileError(
            f"{source} holds a {type(arrays).__name__}, not the dict of arrays of a body model; {_WHERE}"
        )
    return arrays


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the header of one `.npy` member declares."""

    dtype: np.dtype
    order: str
    shape: tuple[int, ...]
    num_bytes: int
    data_offset: int


def _read_members(archive: zipfile.ZipFile, source: str, keys: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if len(members) > _MAX_ARCHIVE_MEMBERS:
        raise BodyFileError(f"{source}: {len(members)} members in one archive; not a body model")
    names = [member.filename for member in members]
    for name in names:
        if names.count(name) > 1:
            raise BodyFileError(f"{source}: the member {name!a} occurs twice; {_CONVERT}")
    if not any(name.endswith(".npy") for name in names):
        raise BodyFileError(f"{source}: a zip archive without arrays, not an .npz; {_WHERE}")
    wanted = {
        member.filename.removesuffix(".npy"): member
        for member in members
        if member.filename.endswith(".npy") and (keys is None or member.filename.removesuffix(".npy") in keys)
    }
    headers: dict[str, _Header] = {}
    for key, member in wanted.items():
        if member.flag_bits & 1:
            raise BodyFileError(f"{source}: {key!a} is encrypted; unpack it and save it again")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BodyFileError(f"{source}: {key!a} has an unusual compression; save it again")
        headers[key] = _read_header(archive, member, f"{source}: {key}")
    total = sum(header.num_bytes for header in headers.values())
    if total > _MAX_ARRAY_BYTES:
        raise BodyFileError(f"{source}: its arrays unpack to {total} bytes, more than the cap of {_MAX_ARRAY_BYTES}")
    return {key: _read_array(archive, wanted[key], header) for key, header in headers.items()}


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> _Header:
    with archive.open(member) as file:
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY" or magic[6:7] not in (b"\x01", b"\x02", b"\x03"):
            raise BodyFileError(f"{where}: not a NumPy array; {_CONVERT}")
        length_bytes = 2 if magic[6] == 1 else 4
        length = int.from_bytes(file.read(length_bytes), "little")
        if length > _MAX_HEADER_BYTES:
            raise BodyFileError(f"{where}: a header of {length} bytes; {_CONVERT}")
        header = file.read(length)
    fields = _NPY_HEADER.fullmatch(header)
    descr = fields["descr"].decode("latin-1") if fields else ""
    if "O" in descr:
        raise BodyFileError(
            f"{where}: stored as a Python object (a sparse matrix or chumpy array), which .npz files can "
            f"only pickle; store a plain array instead (matrix.toarray(), numpy.array(x)), or load the .pkl"
        )
    if fields is None or not _NPY_DESCR.fullmatch(descr):
        raise BodyFileError(f"{where}: an array type or header this package does not read; {_CONVERT}")
    axes = fields["shape"].decode("ascii").replace("L", "").replace(" ", "").split(",")
    shape = tuple(int(axis) for axis in axes if axis)
    dtype = np.dtype(descr)
    num_bytes = math.prod(shape) * dtype.itemsize
    offset = 8 + length_bytes + length
    if len(shape) > 8 or max(shape, default=0) > _MAX_ARRAY_BYTES:
        raise BodyFileError(f"{where}: declares the shape {shape}; not a body model")
    if num_bytes != member.file_size - offset:
        raise BodyFileError(
            f"{where}: declares {num_bytes} bytes of data where the archive has "
            f"{member.file_size - offset}; download or copy it again"
        )
    order = "F" if fields["fortran"] == b"True" else "C"
    return _Header(dtype, order, shape, num_bytes, offset)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    with archive.open(member) as file:
        file.read(header.data_offset)
        raw = file.read(header.num_bytes + 1)  # one more, so that the checksum is compared
    if len(raw) != header.num_bytes:
        raise EOFError(f"{len(raw)} of {header.num_bytes} bytes of {member.filename}")
    if not raw:
        return np.zeros(header.shape, header.dtype)
    if header.dtype.kind == "U" and np.frombuffer(raw, header.dtype.str[0] + "u4").max() > 0x10FFFF:
        raise ValueError(f"invalid characters in {member.filename}")
    array = np.frombuffer(raw, header.dtype)
    return array.reshape(header.shape, order="F" if header.order == "F" else "C")


# ---- contents -------------------------------------------------------------------------------------------


def _body_arrays(arrays: Mapping[str, Any], data: bytes, source: str, num_betas: int | None) -> BodyArrays:
    """Check the arrays of a file and give them our names."""
    if _OPEN_BODY_KEY in arrays:
        raise BodyFileError(f"{source} is this package's open body; use hm.open_body() instead")
    family, parents = _read_tree(arrays, source)
    missing = [key for key in _REQUIRED_KEYS if key not in arrays]
    if missing:
        raise BodyFileError(
            f"{source}: {', '.join(missing)} missing from the model (it has {_key_list(arrays)}); {_WHERE}"
        )
    num_joints = len(parents)
    numbers = {key: _number_array(arrays[key], key, source) for key in _REQUIRED_KEYS}
    template = numbers["v_template"]
    num_vertices = template.shape[0] if template.ndim else 0
    expected: dict[str, tuple[int | str, ...]] = {
        "v_template": ("V", 3),
        "shapedirs": (num_vertices, 3, "S"),
        "posedirs": (num_vertices, 3, 9 * (num_joints - 1)),
        "J_regressor": (num_joints, num_vertices),
        "weights": (num_vertices, num_joints),
        "f": ("F", 3),
    }
    for key, shape in expected.items():
        check_shape(numbers[key], shape, key, source)
    return BodyArrays(
        family=family,
        vertices_template=_frozen_floats(template),
        shape_basis=slice_shape_basis(_frozen_floats(numbers["shapedirs"]), num_betas, source),
        pose_basis=_frozen_floats(numbers["posedirs"]),
        joint_regressor=_frozen(numbers["J_regressor"].astype(np.float64)),
        skinning_weights=check_weights(_frozen_floats(numbers["weights"]), source),
        faces=check_faces(numbers["f"], num_vertices, source),
        parents=parents,
        joint_names=JOINT_NAMES[family],
        landmark_vertex_ids=_landmarks(num_vertices, len(numbers["f"])),
        checksum=hashlib.sha256(data).hexdigest(),
        source=source,
    )


def _key_list(arrays: Mapping[Any, Any], limit: int = 12) -> str:
    keys = sorted(ascii(key)[:40] for key in arrays)
    return ", ".join(keys[:limit] + (["..."] if len(keys) > limit else [])) or "nothing"


def _landmarks(num_vertices: int, num_faces: int) -> tuple[tuple[str, int], ...]:
    if (num_vertices, num_faces) != (_SMPL_NUM_VERTICES, _SMPL_NUM_FACES):
        return ()
    return tuple((name, _SMPL_LANDMARKS[name]) for name in layouts.LANDMARKS)


def _read_tree(arrays: Mapping[str, Any], source: str) -> tuple[str, tuple[int, ...]]:
    """Tell the family by the number of joints and check the kinematic tree against it."""
    if "kintree_table" not in arrays:
        raise BodyFileError(f"{source}: no kintree_table, so not a body model (it has {_key_list(arrays)}); {_WHERE}")
    table = _number_array(arrays["kintree_table"], "kintree_table", source)
    if table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iu":
        raise BodyFileError(f"{source}: kintree_table must be integers of shape (2, joints), got {_shape_text(table)}")
    num_joints = table.shape[1]
    if num_joints in _OTHER_FAMILIES:
        raise BodyFileError(
            f"{source} is a {_OTHER_FAMILIES[num_joints]} model ({num_joints} joints), not supported yet; "
            f"SMPL (24) and SMPL-H (52) are"
        )
    families = [family for family, tree in PARENTS.items() if len(tree) == num_joints]
    if not families:
        raise BodyFileError(f"{source}: {num_joints} joints; SMPL has 24 and SMPL-H 52")
    parents = tuple(-1 if int(parent) in _NO_PARENT else int(parent) for parent in table[0])
    for joint, parent in enumerate(parents):
        if not (parent == -1 if joint == 0 else 0 <= parent < joint):
            raise BodyFileError(
                f"{source}: kintree_table is no tree from joint 0 outwards: joint {joint} has parent {parent}"
            )
    if table[1].tolist() != list(range(num_joints)):
        raise BodyFileError(f"{source}: the second row of kintree_table does not count 0, 1, 2, ...")
    if parents != PARENTS[families[0]]:
        joint = next(j for j in range(num_joints) if parents[j] != PARENTS[families[0]][j])
        raise BodyFileError(
            f"{source}: kintree_table is not the tree of {families[0]}: joint {joint} "
            f"({JOINT_NAMES[families[0]][joint]}) hangs at {parents[joint]}, not {PARENTS[families[0]][joint]}"
        )
    return families[0], parents


def _number_array(value: Any, key: str, source: str) -> np.ndarray:
    """Return a finite, dense, native numeric array, or say what is there instead."""
    if isinstance(value, safe_pickle.UnreadChumpy):
        raise BodyFileError(
            f"{source}: {key} is a chumpy expression ({value.class_name}) without a stored value; {_CONVERT}"
        )
    if isinstance(value, safe_pickle.SparseMatrix):
        value = value.to_dense()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise BodyFileError(f"{source}: {key} must be an array of numbers, got {found}")
    if not np.all(np.isfinite(value)):
        count = int(np.count_nonzero(~np.isfinite(value)))
        raise BodyFileError(f"{source}: {key} has {count} values that are NaN or infinite; download or copy it again")
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def _shape_text(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _frozen_floats(array: np.ndarray) -> np.ndarray:
    return _frozen(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64))


def check_shape(array: np.ndarray, expected: tuple[int | str, ...], key: str, source: str) -> None:
    """Raise `BodyFileError` unless an array has a shape; a letter stands for any length but zero."""
    matches = array.ndim == len(expected) and all(
        size == want or (isinstance(want, str) and size > 0) for size, want in zip(array.shape, expected, strict=True)
    )
    if not matches:
        wanted = ", ".join(str(want) for want in expected)
        hint = ""
        if key == "J_regressor" and array.shape[::-1] == expected:
            hint = "; it is stored transposed"
        if key == "posedirs" and array.shape[-1:] == (93,):
            hint = "; it is a STAR model, which is not supported"
        raise BodyFileError(f"{source}: {key} must have shape ({wanted}), got {array.shape}{hint}")


def slice_shape_basis(
    basis: Float[np.ndarray, "V 3 S"], num_betas: int | None, source: str
) -> Float[np.ndarray, "V 3 s"]:
    """Keep the first shape directions of a basis.

    Args:
        basis: All directions of the file, metres per standard deviation.
        num_betas: How many to keep; None keeps all.
        source: Name to use in messages.

    Returns:
        The first `num_betas` directions, contiguous and read-only.

    Raises:
        BodyFileError: If the file has fewer directions than asked for.
        ValueError: If `num_betas` is not positive.
    """
    available = basis.shape[-1]
    if num_betas is None:
        return basis
    if num_betas < 1:
        raise ValueError(f"num_betas must be at least 1 or None, got {num_betas}")
    if num_betas > available:
        raise BodyFileError(
            f"{source} has {available} shape coefficients and num_betas asks for {num_betas}; "
            f"ask for at most {available}, or None for all"
        )
    return _frozen(basis[..., :num_betas])


def check_weights(weights: Float[np.ndarray, "V J"], source: str) -> Float[np.ndarray, "V J"]:
    """Return skinning weights, or raise `BodyFileError` if a row does not sum to one."""
    error = np.abs(weights.sum(axis=1, dtype=np.float64) - 1.0)
    worst = int(np.argmax(error))
    if error[worst] > _WEIGHT_SUM_TOLERANCE:
        raise BodyFileError(
            f"{source}: the weights of each vertex must sum to 1, those of vertex {worst} sum to "
            f"{weights[worst].sum():.4g}"
        )
    return weights


def check_faces(faces: np.ndarray, num_vertices: int, source: str) -> Int[np.ndarray, "F 3"]:
    """Return triangles as int32, or raise `BodyFileError` if they are no vertex ids."""
    if faces.dtype.kind not in "iu":
        raise BodyFileError(f"{source}: f must be integers, got {faces.dtype}")
    if faces.min() < 0 or faces.max() >= num_vertices:
        raise BodyFileError(f"{source}: f names vertices {faces.min()} to {faces.max()}, the model has {num_vertices}")
    return _frozen(faces.astype(np.int32))
