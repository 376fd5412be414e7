"""Arrays of one body model in host memory, whatever file they came from, and the checks that every file passes.

NumPy only: what leaves this module's checks is trusted by the layers above. Vertices are metres in the model's own
frame (rest pose, y up, face towards +z, left at +x).
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hardmo_jax import safe_pickle
from hardmo_jax.body.array_files import CONVERT, BodyFileError

_WEIGHT_SUM_TOLERANCE = 1e-3  # float16 exports are off by about 5e-4; a missing column by far more
#: Expression coefficients that are kept unless another number is asked for, as in smplx.
_USUAL_EXPRESSION = 10


class HandArrays(NamedTuple):
    """Principal components of the finger rotations of one hand."""

    mean: Float[np.ndarray, "15 3"]
    """Mean axis-angle relative to the flat hand, radians."""
    components: Float[np.ndarray, "N 15 3"]
    """Change of the rotations by one unit of each coefficient, radians."""


class FaceArrays(NamedTuple):
    """The 51 inner points of the face as places in triangles."""

    triangles: Int[np.ndarray, "51 3"]
    """Vertex ids."""
    coordinates: Float[np.ndarray, "51 3"]
    """Barycentric coordinates; rows sum to one."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BodyArrays:
    """Arrays of one body model as stored in its file, checked and read-only."""

    family: str
    """A key of `families.FAMILIES`."""
    gender: str
    """`neutral`, `female`, `male` or `unknown`."""
    vertices_template: Float[np.ndarray, "V 3"]
    """Mean shape in rest pose, metres."""
    shape_basis: Float[np.ndarray, "V 3 C"]
    """Displacement by one standard deviation of each coefficient, metres: shape, then expression."""
    num_expression: int
    """How many of the last coefficients are expression."""
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
    hands: tuple[tuple[str, HandArrays], ...] = ()
    """Pairs of side and principal components; a side is absent where the file has none."""
    face: FaceArrays | None = None
    """Points of the face of SMPL-X; None where the file has none."""
    checksum: str
    """SHA-256 of the file, hexadecimal."""
    source: str
    """Name of the file, without its folder."""


def number_array(value: Any, key: str, source: str) -> np.ndarray:
    """Return a finite, dense, native numeric array, or raise `BodyFileError` saying what is there instead."""
    if isinstance(value, safe_pickle.UnreadChumpy):
        raise BodyFileError(
            f"{source}: {key} is a chumpy expression ({value.class_name}) without a stored value; {CONVERT}"
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


def shaped_array(value: Any, shape: tuple[int | str, ...], key: str, source: str, *, hint: str = "") -> np.ndarray:
    """A finite, dense, native numeric array of a shape, or `BodyFileError`; see `number_array` and `check_shape`."""
    if isinstance(value, safe_pickle.SparseMatrix):
        check_shape(value.shape, shape, key, source, hint=hint)  # before it is spelled out
    array = number_array(value, key, source)
    check_shape(array.shape, shape, key, source, hint=hint)
    return array


def frozen(array: np.ndarray) -> np.ndarray:
    """Contiguous and read-only."""
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def frozen_floats(array: np.ndarray) -> np.ndarray:
    """Contiguous, read-only, float32 or float64."""
    return frozen(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64))


def check_shape(
    shape: tuple[int, ...], expected: tuple[int | str, ...], key: str, source: str, *, hint: str = ""
) -> None:
    """Raise `BodyFileError` unless a shape is the expected one; a letter stands for any length but zero."""
    matches = len(shape) == len(expected) and all(
        size == want or (isinstance(want, str) and size > 0) for size, want in zip(shape, expected, strict=True)
    )
    if not matches:
        wanted = ", ".join(str(want) for want in expected)
        raise BodyFileError(f"{source}: {key} must have shape ({wanted}), got {shape}{hint}")


def slice_columns(
    basis: Float[np.ndarray, "V 3 S"],
    num_shape: int,
    *,
    num_betas: int | None,
    num_expression: int | None,
    source: str,
    hint: str = "",
) -> tuple[Float[np.ndarray, "V 3 C"], int]:
    """Keep the first shape directions of a basis, and the first expression directions after them.

    Args:
        basis: All directions of the file, metres per standard deviation.
        num_shape: How many of them are shape; the rest are expression.
        num_betas: How many shape directions to keep; None keeps all.
        num_expression: How many expression directions to keep; None keeps up to ten of those there are.
        source: Name to use in messages.
        hint: What else to do about a file that has too few.

    Returns:
        The kept directions, read-only and in the memory order of `basis`, and how many of them are expression.

    Raises:
        BodyFileError: If the file has fewer directions than asked for.
        ValueError: If `num_betas` is not positive, or `num_expression` is negative.
    """
    available = basis.shape[-1] - num_shape
    num_betas = num_shape if num_betas is None else num_betas
    num_expression = min(_USUAL_EXPRESSION, available) if num_expression is None else num_expression
    if num_betas < 1 or num_expression < 0:
        raise ValueError(f"num_betas must be at least 1 and num_expression 0, got {num_betas} and {num_expression}")
    for kind, argument, asked, has in (
        ("shape", "num_betas", num_betas, num_shape),
        ("expression", "num_expression", num_expression, available),
    ):
        if asked > has:
            raise BodyFileError(
                f"{source} has {has} {kind} coefficients and {argument} asks for {asked}; ask for at most {has}{hint}"
            )
    if num_betas + num_expression == basis.shape[-1]:
        return basis, num_expression
    # A copy, so that the memory of what is dropped can go.
    expression = basis[..., num_shape : num_shape + num_expression]
    kept = np.concatenate([basis[..., :num_betas], expression], -1)
    kept.setflags(write=False)
    return kept, num_expression


def keep_coefficients(
    arrays: BodyArrays, *, num_betas: int | None, num_expression: int | None, source: str, hint: str = ""
) -> BodyArrays:
    """The same model with the first shape and the first expression coefficients; arguments of `slice_columns`."""
    basis, kept = slice_columns(
        arrays.shape_basis,
        arrays.shape_basis.shape[-1] - arrays.num_expression,
        num_betas=num_betas,
        num_expression=num_expression,
        source=source,
        hint=hint,
    )
    return dataclasses.replace(arrays, shape_basis=basis, num_expression=kept)


def check_weights(weights: Float[np.ndarray, "V J"], source: str) -> Float[np.ndarray, "V J"]:
    """Return skinning weights, or raise `BodyFileError` if they are no shares that sum to one."""
    if weights.min() < -_WEIGHT_SUM_TOLERANCE:
        vertex = int(np.argmin(weights.min(axis=1)))
        raise BodyFileError(f"{source}: weights are shares, those of vertex {vertex} hold {weights.min():.4g}")
    error = np.abs(weights.sum(axis=1, dtype=np.float64) - 1.0)
    worst = int(np.argmax(error))
    if error[worst] > _WEIGHT_SUM_TOLERANCE:
        raise BodyFileError(
            f"{source}: the weights of each vertex must sum to 1, those of vertex {worst} sum to "
            f"{weights[worst].sum():.4g}; download or copy it again"
        )
    return weights


def check_faces(faces: np.ndarray, num_vertices: int, source: str) -> Int[np.ndarray, "F 3"]:
    """Return triangles as int32, or raise `BodyFileError` if they are no vertex ids."""
    if faces.dtype.kind not in "iu":
        raise BodyFileError(f"{source}: f must be integers, got {faces.dtype}")
    if faces.min() < 0 or faces.max() >= num_vertices:
        raise BodyFileError(
            f"{source}: f names vertices {faces.min()} to {faces.max()}, the model has {num_vertices}; "
            "download or copy it again"
        )
    return frozen(faces.astype(np.int32))


def check_barycentric(coordinates: Float[np.ndarray, "K 3"], source: str) -> Float[np.ndarray, "K 3"]:
    """Return places in triangles, or raise `BodyFileError` if a row does not sum to one."""
    error = np.abs(coordinates.sum(axis=1, dtype=np.float64) - 1)
    worst = int(np.argmax(error))
    if error[worst] > _WEIGHT_SUM_TOLERANCE:
        raise BodyFileError(
            f"{source}: barycentric coordinates of each face point must sum to 1, those of point {worst} sum to "
            f"{coordinates[worst].sum():.4g}; download or copy it again"
        )
    return coordinates


def few_bones(weights: Float[np.ndarray, "V J"]) -> tuple[Int[np.ndarray, "V W"], Float[np.ndarray, "V W"]]:
    """Skinning weights as the few joints that move each vertex.

    Returns:
        The joints of each vertex, as many for each as the vertex with the most has, and their shares; further joints
        have shares of zero.
    """
    width = max(int((weights != 0).sum(1).max(initial=0)), 1)
    order = np.argsort(weights == 0, axis=1, kind="stable")[:, :width]
    return order, np.take_along_axis(weights, order, axis=1)
