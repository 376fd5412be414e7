"""Points that are weighted sums of vertices: public joint regressors, and the face points of SMPL-X."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import Array, Float, Int
from hardmo_jax.body import io
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.skeleton import regressors as public_regressors

#: Rows of public regressors sum to one up to rounding; a matrix far from that is no regressor of positions.
_ROW_SUM_TOLERANCE = 0.1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class VertexRegressor:
    """Named points, each a weighted sum of some vertices of a body."""

    weights: Float[Array, "... K U"]
    """Weight of each used vertex in each point."""
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    """Names of the points."""
    vertex_ids: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """The vertices that any point uses."""

    @classmethod
    def from_matrix(
        cls, names: Sequence[str], matrix: Float[np.ndarray, "K V"], num_vertices: int, *, dtype: np.dtype
    ) -> "VertexRegressor":
        """Keep the columns of a dense matrix that are not zero.

        Raises:
            ValueError: If the matrix fits neither names nor vertices, is not finite, or its rows are no averages.
        """
        matrix = np.asarray(matrix, np.float64)
        if matrix.shape != (len(names), num_vertices):
            hint = "; it is stored transposed" if matrix.shape == (num_vertices, len(names)) else ""
            raise ValueError(
                f"a regressor of {len(names)} points on {num_vertices} vertices must have shape "
                f"({len(names)}, {num_vertices}), got {matrix.shape}{hint}"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"names of regressed points repeat: {', '.join(names)}")
        if not np.isfinite(matrix).all():
            raise ValueError("the regressor has values that are NaN or infinite")
        off = np.abs(matrix.sum(-1) - 1)
        if off.size and off.max() > _ROW_SUM_TOLERANCE:
            worst = int(off.argmax())
            raise ValueError(
                f"weights of a point must sum to 1, those of {names[worst]!r} sum to {matrix[worst].sum():.4g}; "
                "it would not move with the body"
            )
        used = np.flatnonzero(np.any(matrix != 0, axis=0))
        return cls(weights=jnp.asarray(matrix[:, used], dtype), names=tuple(names), vertex_ids=tuple(used.tolist()))

    def joined(self, other: "VertexRegressor") -> "VertexRegressor":
        """Points of both, these first."""
        ids = sorted({*self.vertex_ids, *other.vertex_ids})
        place = {vertex: column for column, vertex in enumerate(ids)}
        weights = jnp.zeros((len(self.names) + len(other.names), len(ids)), self.weights.dtype)
        for part, rows in ((self, slice(0, len(self.names))), (other, slice(len(self.names), None))):
            columns = np.array([place[vertex] for vertex in part.vertex_ids], np.int64)
            weights = weights.at[rows, columns].set(part.weights)
        return VertexRegressor(weights=weights, names=self.names + other.names, vertex_ids=tuple(ids))

    def subset(self, place: Mapping[int, int]) -> "VertexRegressor | None":
        """The same points on a body of fewer vertices, or None where a vertex of theirs is missing.

        Args:
            place: New index by old index of the vertices that are kept.
        """
        if not all(vertex in place for vertex in self.vertex_ids):
            return None
        return dataclasses.replace(self, vertex_ids=tuple(place[vertex] for vertex in self.vertex_ids))

    def __call__(self, vertices: Float[Array, "*batch V 3"]) -> Float[Array, "*batch K 3"]:
        """Positions of the points, in the unit and frame of the vertices."""
        used = vertices[..., np.array(self.vertex_ids, np.int64), :]
        return jnp.einsum("ku,...uc->...kc", self.weights, used, precision=lax.Precision.HIGHEST)


def load_regressor(
    path: str | os.PathLike[str], *, names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Float[np.ndarray, "K V"]]:
    """Read a joint regressor file: `J_regressor_extra.npy`, `J_regressor_h36m.npy`, `SMPL_to_J19.pkl` or a user's.

    Args:
        path: `.npy`, or a `.pkl` that holds one array or sparse matrix (read by the closed reader, nothing is run).
        names: Names of the rows; None takes those of the public file that the name of this one means, each with the
            file behind it: `neck_lsp@SMPL_to_J19`.

    Returns:
        Names and matrix, as `BodyModel.with_regressor` takes them.

    Raises:
        FileNotFoundError: If there is no such file.
        hardmo_jax.body.array_files.BodyFileError: If the file holds no such matrix, or the rows cannot be named.
    """
    path = Path(path)
    matrix = io.load_matrix(path)
    if names is None:
        public = next((key for key in public_regressors.REGRESSORS if key.lower() in path.stem.lower()), None)
        if public is None:
            raise BodyFileError(
                f"{path.name}: the name means none of the regressors {', '.join(public_regressors.REGRESSORS)}; "
                f"give the names of its {matrix.shape[0]} rows as names="
            )
        names = public_regressors.regressed_points(public)
    if len(names) != matrix.shape[0]:
        raise BodyFileError(f"{path.name}: {matrix.shape[0]} rows, but {len(names)} names ({', '.join(names)})")
    return tuple(names), matrix


def from_barycentric(
    names: Sequence[str],
    triangles: Int[np.ndarray, "K 3"],
    coordinates: Float[np.ndarray, "K 3"],
    num_vertices: int,
    *,
    dtype: np.dtype,
) -> VertexRegressor:
    """Points inside triangles of the mesh, such as the face points of SMPL-X.

    Args:
        names: Names of the points.
        triangles: Vertex ids of the triangle of each point.
        coordinates: Barycentric coordinates; rows sum to one.
        num_vertices: Vertices of the mesh.
        dtype: Type of the weights.
    """
    matrix = np.zeros((len(names), num_vertices))
    np.add.at(matrix, (np.arange(len(names))[:, None], triangles), coordinates)
    return VertexRegressor.from_matrix(names, matrix, num_vertices, dtype=dtype)
