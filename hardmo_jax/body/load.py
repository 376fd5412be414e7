"""From arrays read off a file to a body model ready for the device."""

import os
import pathlib
from typing import Literal

import jax.numpy as jnp
import numpy as np

from hardmo_jax.body import io
from hardmo_jax.body import open_body as open_body_asset
from hardmo_jax.body.model import BodyModel


def load_body(
    path: str | os.PathLike[str], *, num_betas: int | None = 10, dtype: np.dtype | type = np.float32
) -> BodyModel:
    """Load a SMPL or SMPL-H model file.

    Args:
        path: `.npz` or `.pkl` as distributed. Pickles are read by a closed reader that runs nothing from them.
        num_betas: Shape coefficients to keep; None keeps all that the file has.
        dtype: Floating-point type of the model's arrays; float64 needs `jax_enable_x64`.

    Returns:
        The model, a pytree.

    Raises:
        FileNotFoundError: If there is no such file; the message says where to get one.
        IsADirectoryError: If the path is a folder.
        hardmo_jax.body.io.BodyFileError: If the file is not such a model.
    """
    return model_from_arrays(io.load_arrays(path, num_betas=num_betas), dtype=dtype)


def open_body(*, view: Literal["smpl", "smplh"] = "smplh", dtype: np.dtype | type = np.float32) -> BodyModel:
    """The body that ships with the package: no licence, no file, parametrised like SMPL.

    Args:
        view: `smplh` has 52 joints with articulated fingers; `smpl` has 24, the fingers folded into the hands.
        dtype: Floating-point type of the model's arrays; float64 needs `jax_enable_x64`.

    Returns:
        The model. It has no pose blend shapes, and its `betas` are not SMPL's (README, "labels").
    """
    return model_from_arrays(open_body_asset.load_open_body_arrays(view), dtype=dtype)


def model_from_arrays(arrays: io.BodyArrays, *, dtype: np.dtype | type = np.float32) -> BodyModel:
    """Put the arrays of a file into the order that computing with them wants.

    The joint regressor is multiplied out here, in float64, and never used again.
    """
    regressor = np.asarray(arrays.joint_regressor, np.float64)
    template = np.asarray(arrays.vertices_template, np.float64)
    shape_basis = np.asarray(arrays.shape_basis, np.float64)

    def device(array: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(np.ascontiguousarray(array), dtype)

    pose_basis = arrays.pose_basis
    weights = np.asarray(arrays.skinning_weights, np.float64)
    return BodyModel(
        template_planar=device(template.T),
        shape_basis_planar=device(shape_basis.transpose(2, 1, 0)),
        pose_basis_planar=None if pose_basis is None else device(pose_basis.transpose(2, 1, 0)),
        joint_template=device(regressor @ template),
        joint_shape_basis=device(np.einsum("jv,vcs->sjc", regressor, shape_basis, optimize=True)),
        skinning_weights=device(weights / weights.sum(-1, keepdims=True)),
        faces=jnp.asarray(arrays.faces, jnp.int32),
        parents=tuple(arrays.parents),
        joint_names=tuple(arrays.joint_names),
        landmarks=tuple((name, int(vertex)) for name, vertex in arrays.landmark_vertex_ids),
        family=arrays.family,
        name=pathlib.PurePath(arrays.source).stem,
        checksum=arrays.checksum,
    )
