"""Which points of one body are which points of another: the same mesh, a published transfer matrix, or named landmarks.

Points are nodes of a body: its vertices in file order, then its joints. A transfer matrix gives every vertex of the
target as a weighted sum of vertices of the source, as `smpl2smplx_deftrafo_setup.pkl` of SMPL-X's `model_transfer.zip`
does.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import scipy.sparse

from hardmo_jax import safe_pickle
from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.array_files import read_npz
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.model import BodyModel
from hardmo_jax.skeleton import layouts

#: Fitted vertices of a mesh, for each joint that moves more of them than any other joint does.
_POINTS_A_JOINT = 10
#: How far a point may be from its goal, metres: vertices of surfaces that are known to be the same; joints and
#: landmarks, which each body has in a place of its own; those of fingers, whose bones are 3 cm long.
_SURFACE_SPREAD, _LANDMARK_SPREAD, _FINGER_SPREAD = 0.005, 0.01, 0.003
#: Rows of published matrices sum to one to float32.
_ROW_SUM_TOLERANCE = 1e-3
_SPARSE_KEYS = ("format", "shape", "data", "indices", "indptr", "row", "col")


class VertexMapError(ValueError):
    """A matrix that does not say where the vertices of one body are on another."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Correspondence:
    """Points that two bodies share."""

    kind: Literal["mesh", "map", "landmarks"]
    """What says so: one topology, a matrix given by the user, or names."""
    nodes: Int[np.ndarray, "M"]
    """Nodes of the target."""
    weights: scipy.sparse.csr_array
    """What of the source's nodes makes each of them; `(M, nodes of the source)`."""
    fitted: Int[np.ndarray, "K"]
    """Which of the M points a fit looks at."""
    spread: Float[np.ndarray, "K"]
    """How far each of those may be from its goal, metres."""
    is_hand: Bool[np.ndarray, "M"]
    """Whether a joint of a hand beyond the wrist moves the point more than any other joint does."""


def load_vertex_map(path: str | os.PathLike[str]) -> scipy.sparse.csr_array:
    """Read a transfer matrix between the meshes of two bodies.

    Args:
        path: A `.pkl` (read by the closed reader, nothing is run) or `.npz` that holds the matrix under `mtx`, as
            `smpl2smplx_deftrafo_setup.pkl` does; a `.pkl` of the matrix alone; or an `.npz` of `scipy.sparse.save_npz`.

    Returns:
        Matrix `(V_target, V_source)`, or `(V_target, 2 * V_source)` as published, where the second half multiplies
        normals; `correspondence_of` leaves that half out, as `smplx` does.

    Raises:
        FileNotFoundError: If there is no such file.
        VertexMapError: If the file holds no such matrix.
        hardmo_jax.body.array_files.BodyFileError: If an archive is damaged.
        hardmo_jax.safe_pickle.UnsafePickleError: If a pickle asks for more than arrays and plain values.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no transfer matrix at {path}; those of SMPL, SMPL-H and SMPL-X are in `model_transfer.zip`, on the site "
            "of SMPL-X"
        )
    data = safe_pickle.read_capped(path)
    if data[:4] == b"PK\x03\x04":
        held: Any = read_npz(data, source=path.name, keys=("mtx", *_SPARSE_KEYS))
        value = held.get("mtx") if "mtx" in held else _of_sparse_arrays(held, path.name)
    else:
        try:
            held = safe_pickle.loads(data, source=path.name)
        except safe_pickle.CorruptPickleError as error:
            raise VertexMapError(f"{error}; a pickle or .npz with the matrix under `mtx` is expected") from error
        value = held.get("mtx") if isinstance(held, Mapping) else held
    if isinstance(value, safe_pickle.SparseMatrix):
        value = scipy.sparse.coo_array((value.values, (value.rows, value.columns)), shape=value.shape)
    if not scipy.sparse.issparse(value) and not (isinstance(value, np.ndarray) and value.ndim == 2):
        holds = f"keys {', '.join(map(str, held))}" if isinstance(held, Mapping) else type(held).__name__
        raise VertexMapError(f"{path.name}: a matrix under `mtx` is expected, found {holds}")
    return _checked_numbers(value, path.name)


def _of_sparse_arrays(held: Mapping[str, np.ndarray], source: str) -> scipy.sparse.coo_array | None:
    """A matrix as `scipy.sparse.save_npz` stores it; None if this is something else."""
    if "shape" not in held or "data" not in held or "format" not in held:
        return None
    layout = held["format"].reshape(-1)[0]
    layout = layout.decode("ascii", "replace") if isinstance(layout, bytes) else str(layout)
    shape = tuple(int(size) for size in held["shape"].reshape(-1))
    try:
        if layout == "coo":
            return scipy.sparse.coo_array((held["data"], (held["row"], held["col"])), shape=shape)
        made = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array}[layout]
        matrix = made((held["data"], held["indices"], held["indptr"]), shape=shape)
        matrix.check_format(full_check=True)
        return matrix.tocoo()
    except (KeyError, ValueError, IndexError) as error:
        raise VertexMapError(f"{source}: a damaged sparse matrix of layout {layout!a}; save it again") from error


def _checked_numbers(matrix: Any, source: str) -> scipy.sparse.csr_array:
    matrix = scipy.sparse.csr_array(matrix)
    if matrix.dtype.kind not in "iuf" or not np.all(np.isfinite(matrix.data)):
        raise VertexMapError(f"{source}: the matrix must be of finite numbers; download or copy it again")
    return matrix.astype(np.float64)


def correspondence_of(source: BodyModel, target: BodyModel, vertex_map: Any = None) -> Correspondence:
    """What two bodies have in common.

    Args:
        source: Body that points come from.
        target: Body whose points they are.
        vertex_map: Matrix `(V_target, V_source)`, dense or of scipy.sparse, see `load_vertex_map`. Rows sum to one;
            those of vertices that the source has not are empty. None takes the mesh itself where both have the same,
            and else the joints and landmarks of the same name.

    Raises:
        VertexMapError: If the matrix is of other meshes, or its rows do not sum to one.
    """
    if vertex_map is not None:
        return _of_matrix(source, target, vertex_map)
    if _has_same_mesh(source, target):
        identity = scipy.sparse.eye_array(target.num_vertices, format="csr")
        return _dense(source, target, "mesh", np.arange(target.num_vertices), identity)
    return _of_names(source, target)


def _has_same_mesh(source: BodyModel, target: BodyModel) -> bool:
    if source.num_vertices != target.num_vertices:
        return False
    sizes = {(body.num_vertices, len(body.faces)) for body in (source, target)}
    # SMPL and SMPL-H are published with one mesh, whatever the order of their triangles.
    if all(body.family in ("smpl", "smplh") for body in (source, target)) and sizes == {FAMILIES["smpl"].topology}:
        return True
    return len(target.faces) > 0 and np.array_equal(np.asarray(source.faces), np.asarray(target.faces))


def _of_matrix(source: BodyModel, target: BodyModel, vertex_map: Any) -> Correspondence:
    matrix = _checked_numbers(vertex_map, "vertex_map")
    wanted = (target.num_vertices, source.num_vertices)
    rows, columns = cast(Any, matrix).shape
    if rows != wanted[0] or columns not in (wanted[1], 2 * wanted[1]):
        turned = " (that is the matrix of the other direction)" if rows == wanted[1] != wanted[0] else ""
        raise VertexMapError(
            f"vertex_map from {source.name} to {target.name} must be {wanted}, or {(wanted[0], 2 * wanted[1])} with "
            f"columns of normals, got {matrix.shape}{turned}"
        )
    matrix = scipy.sparse.csr_array(matrix[:, : wanted[1]])
    sums = matrix.sum(axis=1)
    is_mapped = np.diff(matrix.indptr) > 0
    wrong = np.flatnonzero(is_mapped & (np.abs(sums - 1) > _ROW_SUM_TOLERANCE))
    if len(wrong) or not is_mapped.any():
        what = f"row {wrong[0]} sums to {sums[wrong[0]]:.4g} ({len(wrong)} such rows)" if len(wrong) else "it is empty"
        raise VertexMapError(
            f"vertex_map: rows must sum to one, or be empty where the source has no such place; {what}"
        )
    return _dense(source, target, "map", np.flatnonzero(is_mapped), scipy.sparse.csr_array(matrix[is_mapped]))


def _dense(
    source: BodyModel, target: BodyModel, kind: Literal["mesh", "map"], vertices: Int[np.ndarray, "M"], matrix: Any
) -> Correspondence:
    """Whole surfaces: all their points count, and a few well spread ones on every part are fitted."""
    owner = np.argmax(np.asarray(target.skinning_planar)[:, vertices], axis=0)
    template = np.asarray(target.template_planar, np.float64).T[vertices]
    rows = [_spread_out(template, np.flatnonzero(owner == joint)) for joint in range(target.num_joints)]
    fitted = np.sort(np.concatenate(rows))
    joints = scipy.sparse.csr_array((len(vertices), source.num_joints))
    return Correspondence(
        kind=kind,
        nodes=vertices,
        weights=scipy.sparse.csr_array(scipy.sparse.hstack([matrix, joints])),
        fitted=fitted,
        spread=np.full(len(fitted), _SURFACE_SPREAD),
        is_hand=hand_joints(target)[owner],
    )


def _spread_out(points: Float[np.ndarray, "M 3"], rows: Int[np.ndarray, "R"]) -> Int[np.ndarray, "N"]:
    """A few of some points, each the farthest from those before it."""
    if len(rows) <= _POINTS_A_JOINT:
        return rows
    some = points[rows]
    distance = np.linalg.norm(some - some.mean(axis=0), axis=1)
    chosen = [int(np.argmax(distance))]
    nearest = np.linalg.norm(some - some[chosen[0]], axis=1)
    while len(chosen) < _POINTS_A_JOINT:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(some - some[chosen[-1]], axis=1))
    return rows[chosen]


def _of_names(source: BodyModel, target: BodyModel) -> Correspondence:
    """Joints and landmarks of the same name."""
    ours, theirs = _named_nodes(target), _named_nodes(source)
    for side in layouts.SIDES:
        # SMPL's one joint of a hand stands about where the middle finger begins.
        for nodes in (ours, theirs):
            if f"{side}_middle1" in nodes:
                nodes.setdefault(f"{side}_hand", nodes[f"{side}_middle1"])
    names = [
        name
        for name in ours
        if name in theirs
        and not (name.endswith("_hand") and f"{name[:-4]}middle1" in theirs and f"{name[:-4]}middle1" in ours)
    ]
    nodes = np.array([ours[name] for name in names], np.int64)
    columns = np.array([theirs[name] for name in names], np.int64)
    shape = (len(names), source.num_vertices + source.num_joints)
    is_finger = np.array(
        [any(f"_{finger}" in name for finger in layouts.FINGERS) and "toe" not in name for name in names]
    )
    is_hand = is_finger | np.array([name.endswith("_hand") for name in names])
    return Correspondence(
        kind="landmarks",
        nodes=nodes,
        weights=scipy.sparse.csr_array((np.ones(len(names)), (np.arange(len(names)), columns)), shape=shape),
        fitted=np.arange(len(names)),
        spread=np.where(is_finger, _FINGER_SPREAD, _LANDMARK_SPREAD),
        is_hand=is_hand,
    )


def _named_nodes(body: BodyModel) -> dict[str, int]:
    joints = {name: body.num_vertices + joint for joint, name in enumerate(body.joint_names)}
    return {**dict(body.landmarks), **joints}


def hand_joints(body: BodyModel) -> Bool[np.ndarray, "J"]:
    """Which joints are those of a hand beyond its wrist."""
    fingers = {f"{side}_{finger}{joint}" for side in layouts.SIDES for finger in layouts.FINGERS for joint in (1, 2, 3)}
    hands = {f"{side}_hand" for side in layouts.SIDES}
    return np.array([name in fingers | hands for name in body.joint_names])
