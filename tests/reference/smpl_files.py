"""Synthetic SMPL, SMPL-H, SMPL-X and MANO files in the published layouts: well-formed, seeded, free of licensed data.

The mesh is a closed surface of 2 V - 4 triangles (13776 at the full 6890 vertices), dressed around a plausible
rest skeleton; bases are smooth and small. Pickles are assembled opcode by opcode, so that the ones of Python 2
(text and binary, with chumpy and scipy objects) are written without Python 2, chumpy or scipy.
"""

import dataclasses
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

FULL_SIZE = 6890
#: Vertices of the published meshes; the synthetic ones of these sizes have the published numbers of triangles, too.
FULL_SIZES = {"smpl": 6890, "smplh": 6890, "smplx": 10475, "mano_left": 778, "mano_right": 778}
FULL_NUM_FACES = {"smpl": 13776, "smplh": 13776, "smplx": 20908, "mano_left": 1538, "mano_right": 1538}
FAMILIES = tuple(FULL_SIZES)
NUM_JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55, "mano_left": 16, "mano_right": 16}
_BODY_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]


def _hands(wrists: tuple[int, ...], first: int) -> list[int]:
    """Five chains of three joints on each wrist."""
    return [
        wrist if joint % 3 == 0 else first + 15 * side + joint - 1
        for side, wrist in enumerate(wrists)
        for joint in range(15)
    ]


PARENTS = {
    "smpl": np.array([*_BODY_PARENTS, 20, 21]),
    "smplh": np.array([*_BODY_PARENTS, *_hands((20, 21), 22)]),
    "smplx": np.array([*_BODY_PARENTS, 15, 15, 15, *_hands((20, 21), 25)]),
    "mano_left": np.array([-1, *_hands((0,), 1)]),
    "mano_right": np.array([-1, *_hands((0,), 1)]),
}
#: Left half and middle of a rest skeleton, metres (x to the person's left, y up, z forward).
_MIDDLE = {0: (-0.22, 0.03), 3: (-0.11, 0.0), 6: (0.03, 0.02), 9: (0.08, 0.03), 12: (0.29, 0.0), 15: (0.36, 0.04)}
_LEFT = {
    1: (0.06, -0.31, 0.01), 4: (0.10, -0.69, 0.01), 7: (0.09, -1.09, -0.03), 10: (0.12, -1.15, 0.09),
    13: (0.08, 0.20, -0.01), 16: (0.18, 0.23, -0.02), 18: (0.43, 0.21, -0.04), 20: (0.68, 0.22, -0.05),
}  # fmt: skip


def _finger_joints(sign: float) -> np.ndarray:
    """15 finger joints in a row along the arm."""
    return np.array([(sign * (0.77 + 0.03 * k), 0.21, -0.02 * finger) for finger in range(5) for k in range(3)])


def rest_joints(family: str) -> np.ndarray:
    """Rest joints `(J, 3)` in metres."""
    if family.startswith("mano"):
        sign = 1.0 if family == "mano_left" else -1.0
        return np.concatenate([[(sign * 0.68, 0.22, -0.05)], _finger_joints(sign)]) - (sign * 0.6, 0.2, 0)
    joints = np.zeros((NUM_JOINTS[family], 3))
    for joint, (y, z) in _MIDDLE.items():
        joints[joint] = (0.0, y, z)
    for joint, (x, y, z) in _LEFT.items():
        joints[joint], joints[joint + 1] = (x, y, z), (-x, y, z)
    if family == "smpl":
        joints[22], joints[23] = (0.77, 0.21, -0.06), (-0.77, 0.21, -0.06)
        return joints
    if family == "smplx":
        joints[22:25] = (0.0, 0.34, 0.05), (0.03, 0.44, 0.08), (-0.03, 0.44, 0.08)
    joints[-30:] = np.concatenate([_finger_joints(1.0), _finger_joints(-1.0)])
    return joints


def closed_mesh(num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit-sphere vertices `(V, 3)` and `2 V - 4` outward triangles."""
    segments = max(3, round((2 * num_vertices) ** 0.5))
    rings = (num_vertices - 2) // segments
    polar = np.pi * (np.arange(rings) + 1) / (rings + 1)
    turn = 2 * np.pi * np.arange(segments) / segments
    grid = np.stack(
        [
            np.outer(np.sin(polar), np.cos(turn)),
            np.outer(np.cos(polar), np.ones(segments)),
            np.outer(np.sin(polar), -np.sin(turn)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = [*grid, np.array([0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0])]
    top, bottom = len(points) - 2, len(points) - 1
    faces = []
    for s in range(segments):
        n = (s + 1) % segments
        faces.append((top, s, n))
        faces.append((bottom, (rings - 1) * segments + n, (rings - 1) * segments + s))
        for r in range(rings - 1):
            a, b = r * segments + s, r * segments + n
            faces += [(a, a + segments, b), (b, a + segments, b + segments)]
    for split in range(num_vertices - len(points)):  # the rest become centres of existing triangles
        a, b, c = faces[split]
        middle = points[a] + points[b] + points[c]
        points.append(middle / np.linalg.norm(middle))
        faces[split] = (a, b, len(points) - 1)
        faces += [(b, c, len(points) - 1), (c, a, len(points) - 1)]
    return np.array(points), np.array(faces)


def make_model(
    family: str = "smpl", *, num_vertices: int = 300, num_betas: int = 10, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays of a model under the keys of the published files, float64.

    `num_betas` is the number of columns of the shape basis: of SMPL-X, 20 and 400 hold expression as well.
    """
    generator = np.random.default_rng(seed)
    joints, parents = rest_joints(family), PARENTS[family]
    num_joints = len(joints)
    sphere, faces = closed_mesh(num_vertices)
    if num_vertices == FULL_SIZES[family]:
        faces = faces[: FULL_NUM_FACES[family]]  # the published meshes are open at the eyes and at the wrist
    owner = np.arange(num_vertices) % num_joints  # every joint owns vertices, at any size
    template = joints[owner] + 0.05 * sphere
    distance = np.linalg.norm(template[:, None] - joints, axis=-1)
    near = np.argsort(distance, axis=1)[:, :4]
    share = np.exp(-10.0 * np.take_along_axis(distance, near, axis=1))
    weights = np.zeros((num_vertices, num_joints))
    np.put_along_axis(weights, near, share / share.sum(axis=1, keepdims=True), axis=1)
    regressor = np.zeros((num_joints, num_vertices))
    for joint in range(num_joints):
        chosen = np.argsort(distance[:, joint], kind="stable")[:12]
        part = generator.uniform(0.1, 1.1, len(chosen))
        regressor[joint, chosen] = part / part.sum()
    frequency = generator.normal(0.0, 2.5, (num_betas, 3, 3))
    phase = generator.uniform(0.0, 2 * np.pi, (3, num_betas))
    decay = 0.03 / (1.0 + np.arange(num_betas)) ** 0.7
    shape_basis = decay * np.sin(np.einsum("vi,sji->vjs", template, frequency) + phase)
    table = np.stack([np.where(parents < 0, 2**32 - 1, parents), np.arange(num_joints)])
    model = {
        "v_template": template,
        "shapedirs": shape_basis,
        "posedirs": generator.normal(0.0, 0.004, (num_vertices, 3, 9 * (num_joints - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "f": faces.astype(np.uint32),
        "kintree_table": table.astype(np.uint32),
    }
    suffixes = {"smplh": "lr", "smplx": "lr", "mano_left": ("",), "mano_right": ("",)}.get(family, ())
    for suffix in suffixes:
        model[f"hands_mean{suffix}"] = generator.normal(0.0, 0.1, 45)
        model[f"hands_components{suffix}"] = np.linalg.qr(generator.normal(size=(45, 45)))[0]
    if family == "smplx":
        model["lmk_faces_idx"] = generator.integers(0, len(faces), 51)
        coordinates = generator.uniform(0.1, 1.0, (51, 3))
        model["lmk_bary_coords"] = coordinates / coordinates.sum(1, keepdims=True)
    return model


def published_stem(family: str) -> str:
    """Name of a published file of a family, without its ending."""
    return {"mano_left": "MANO_LEFT", "mano_right": "MANO_RIGHT"}.get(family, f"{family.upper()}_NEUTRAL")


def write_npz(path: Path, model: dict[str, Any]) -> Path:
    np.savez(path, **model)
    return path


def write_compressed_npz(path: Path, model: dict[str, Any]) -> Path:
    np.savez_compressed(path, **model)
    return path


def make_open_body(*, num_vertices: int = 400, num_betas: int = 10, seed: int = 0) -> dict[str, Any]:
    """Arrays in the layout of the package's own body: coordinates and no pose basis."""
    model = make_model("smplh", num_vertices=num_vertices, num_betas=num_betas, seed=seed)
    rows, columns = np.nonzero(model["J_regressor"])
    index = np.argsort(-model["weights"], axis=1)[:, :4]
    fingers = [f"{f}{k}" for f in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)]
    body = [
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
        "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ]  # fmt: skip
    return {
        "format_version": np.array(1, np.int32),
        "name": np.array("synthetic"),
        "v_template": model["v_template"].astype(np.float32),
        "shapedirs": model["shapedirs"].astype(np.float32),
        "J_regressor_row": rows.astype(np.uint8),
        "J_regressor_col": columns.astype(np.uint16),
        "J_regressor_val": model["J_regressor"][rows, columns].astype(np.float32),
        "weights_index": index.astype(np.uint8),
        "weights_value": np.take_along_axis(model["weights"], index, axis=1).astype(np.float32),
        "f": model["f"].astype(np.uint16),
        "kintree_table": np.stack([PARENTS["smplh"], np.arange(52)]).astype(np.int32),
        "joint_names": np.array(body + [f"{s}_{f}" for s in ("left", "right") for f in fingers]),
        "landmark_names": np.array(["nose", "left_heel"]),
        "landmark_vertex_ids": np.array([3, 5], np.int32),
        "source": np.array("synthetic"),
        "source_sha256": np.array("0" * 64),
    }


# ---- pickles ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sparse:
    """A dense array to be written as a scipy.sparse matrix of one layout."""

    array: np.ndarray
    layout: str = "csc"
    module: str = "scipy.sparse.csc"


@dataclasses.dataclass(frozen=True, eq=False)
class Chumpy:
    """An object of chumpy (or any other module) with a state."""

    state: dict[str, Any]
    name: str = "chumpy.ch Ch"


def chumpy_array(array: np.ndarray) -> Chumpy:
    """What chumpy stores for a plain array, with its bookkeeping."""
    return Chumpy({"x": array, "_dirty_vars": set(), "_itr": None, "_parents": {}, "_cache": {"drs": {}}})


def chumpy_selection(array: np.ndarray, count: int) -> Chumpy:
    """The first `count` entries of the last axis as chumpy's Select over a larger array (as MANO does)."""
    flat = np.arange(array.size).reshape(array.shape)[..., :count]
    state = {"a": chumpy_array(array), "idxs": flat.ravel(), "preferred_shape": flat.shape}
    return Chumpy(state, "chumpy.reordering Select")


class Python2Pickle:
    """Writes what Python 2's pickle writes: protocol 0 (text) or 2 (binary)."""

    def __init__(self, protocol: int) -> None:
        if protocol not in (0, 2):
            raise ValueError(f"protocol must be 0 or 2, got {protocol}")
        self.binary = protocol == 2

    def dump(self, value: Any) -> bytes:
        return (b"\x80\x02" if self.binary else b"") + self.encode(value) + b"."

    def encode(self, value: Any) -> bytes:
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return (b"\x88" if value else b"\x89") if self.binary else b"I0%d\n" % value
        if isinstance(value, int):
            return struct.pack("<ci", b"J", value) if self.binary else b"I%d\n" % value
        if isinstance(value, float):
            return struct.pack(">cd", b"G", value) if self.binary else f"F{value!r}\n".encode()
        if isinstance(value, bytes | str):
            return self.text(value if isinstance(value, bytes) else value.encode("latin-1"))
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.encode, value)) + b"t"
        if isinstance(value, list):
            return b"(l" + b"".join(self.encode(item) + b"a" for item in value)
        if isinstance(value, dict):
            items = (self.encode(k) + self.encode(v) + b"s" for k, v in value.items())
            return b"(d" + b"".join(items)
        if isinstance(value, set):
            return b"c__builtin__\nset\n" + self.encode((sorted(value),)) + b"R"
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, Sparse):
            return self.instance(f"{value.module} {value.layout}_matrix", sparse_state(value))
        return self.instance(value.name, value.state)

    def text(self, data: bytes) -> bytes:
        if self.binary and len(data) < 256:
            return b"U" + bytes([len(data)]) + data
        if self.binary:
            return b"T" + struct.pack("<i", len(data)) + data
        return b"S" + repr(data)[1:].encode("ascii") + b"\n"

    def dtype(self, dtype: np.dtype) -> bytes:
        order = {"=": "<"}.get(dtype.byteorder, dtype.byteorder)
        made = b"cnumpy\ndtype\n" + self.encode((dtype.str[1:], 0, 1)) + b"R"
        return made + self.encode((3, order, None, None, None, -1, -1, 0)) + b"b"

    def array(self, array: np.ndarray) -> bytes:
        shell = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        shell += self.encode((0,)) + self.encode("b") + b"tR"
        is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        raw = array.tobytes(order="F" if is_fortran else "C")
        state = self.encode(1) + self.encode(array.shape) + self.dtype(array.dtype)
        return shell + b"(" + state + self.encode(is_fortran) + self.encode(raw) + b"tb"

    def instance(self, name: str, state: dict[str, Any]) -> bytes:
        named = b"c" + name.replace(" ", "\n").encode() + b"\n"
        if self.binary:
            return named + b")\x81" + self.encode(state) + b"b"
        return b"ccopy_reg\n_reconstructor\n(" + named + b"c__builtin__\nobject\nNtR" + self.encode(state) + b"b"


def sparse_state(sparse: Sparse) -> dict[str, Any]:
    """State of the scipy matrix, in the spelling of 2014 (`_shape`, `row` and `col`)."""
    array = sparse.array if sparse.layout != "csc" else sparse.array.T
    major, minor = np.nonzero(array)
    state: dict[str, Any] = {"_shape": sparse.array.shape, "maxprint": 50, "data": array[major, minor]}
    if sparse.layout == "coo":
        return {**state, "row": major.astype(np.int32), "col": minor.astype(np.int32)}
    starts = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=len(array)))])
    return {**state, "indices": minor.astype(np.int32), "indptr": starts.astype(np.int32)}


def _python2_shape_basis(model: dict[str, Any]) -> Chumpy:
    """MANO files hold the first directions of a larger basis, as an expression; the others an array."""
    basis = model["shapedirs"]
    if "hands_mean" not in model:
        return chumpy_array(basis)
    return chumpy_selection(np.concatenate([basis, np.full_like(basis, 9.0)], axis=-1), basis.shape[-1])


def write_python2_pickle(path: Path, model: dict[str, Any], *, protocol: int = 2) -> Path:
    """A model as published: sparse regressor, chumpy arrays and their expressions, plain text entries."""
    published = {
        **model,
        "J_regressor": Sparse(model["J_regressor"]),
        "shapedirs": _python2_shape_basis(model),
        "v_template": chumpy_array(model["v_template"]),
        "J": Chumpy({"a": chumpy_array(model["v_template"])}, "chumpy.reordering transpose"),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    path.write_bytes(Python2Pickle(protocol).dump(published))
    return path


def write_pickle(path: Path, model: dict[str, Any], *, protocol: int = 4) -> Path:
    """A model as cleaned of chumpy and scipy with today's Python: plain arrays."""
    path.write_bytes(pickle.dumps(model, protocol=protocol))
    return path
