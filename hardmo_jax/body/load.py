"""From arrays read off a file to a body model ready for the device."""

import os
import pathlib
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.body import files, io, regressors
from hardmo_jax.body import open_body as open_body_asset
from hardmo_jax.body.arrays import BodyArrays, few_bones
from hardmo_jax.body.hands import HandSpace
from hardmo_jax.body.model import BodyModel
from hardmo_jax.skeleton import layouts


def load_body(
    path: str | os.PathLike[str],
    *,
    family: Literal["smpl", "smplh", "smplx", "mano"] | None = None,
    gender: Literal["neutral", "female", "male"] | None = None,
    side: Literal["left", "right"] | None = None,
    num_betas: int | None = 10,
    num_expression: int | None = None,
    dtype: np.dtype | type = np.float32,
) -> BodyModel:
    """Load a SMPL, SMPL-H, SMPL-X or MANO model.

    Args:
        path: `.npz` or `.pkl` as distributed or as written by `tools.prepare_body`; or a folder of such files; or a
            name without ending that says which one, such as `body_models/smplx_female`. Pickles are read by a closed
            reader that runs nothing from them.
        family: What to look for in a folder. A file must be of this family; None takes what it is.
        gender: What to look for in a folder (None: neutral, or the only one), and what the model is called if its
            file does not say.
        side: Which hand, of MANO; None reads it off the file's name.
        num_betas: Shape coefficients to keep; None keeps all that the file has.
        num_expression: Expression coefficients of SMPL-X to keep; None keeps up to ten of those it has.
        dtype: Floating-point type of the model's arrays; float64 needs `jax_enable_x64`.

    Returns:
        The model, a pytree.

    Raises:
        FileNotFoundError: If there is no such file; the message says what is there and where to get one.
        IsADirectoryError: If several files of a folder fit.
        hardmo_jax.body.array_files.BodyFileError: If the file is not such a model, or of another family.
        hardmo_jax.safe_pickle.UnsafePickleError: If a pickle asks for more than arrays and plain values.
        ValueError: If an argument contradicts the file or is unknown.
    """
    _checked_dtype(dtype)
    found = files.find_body_file(path, family=family, gender=gender, side=side)
    arrays = io.load_arrays(
        found, num_betas=num_betas, num_expression=num_expression, family=family, gender=gender, side=side
    )
    return model_from_arrays(arrays, dtype=dtype)


def open_body(*, view: Literal["smpl", "smplh"] = "smplh", dtype: np.dtype | type = np.float32) -> BodyModel:
    """The body that ships with the package: no licence, no file, parametrised like SMPL.

    Args:
        view: `smplh` has 52 joints with articulated fingers; `smpl` has 24, the fingers folded into the hands.
        dtype: Floating-point type of the model's arrays; float64 needs `jax_enable_x64`.

    Returns:
        The model. It has no pose blend shapes, and its `betas` are not SMPL's (README, "labels").
    """
    return model_from_arrays(open_body_asset.load_open_body_arrays(view), dtype=dtype)


def _checked_dtype(dtype: np.dtype | type) -> np.dtype:
    """The type, if JAX will really compute with it."""
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {kind}")
    if jax.dtypes.canonicalize_dtype(kind) != kind:
        raise ValueError("a float64 body needs jax_enable_x64: jax.config.update('jax_enable_x64', True) comes first")
    return kind


def model_from_arrays(arrays: BodyArrays, *, dtype: np.dtype | type = np.float32) -> BodyModel:
    """Put the arrays of a file into the order that computing with them wants.

    The joint regressor is multiplied out here, in float64, and never used again.

    Raises:
        ValueError: If the type is neither float32 nor float64, or float64 without `jax_enable_x64`.
    """
    dtype = _checked_dtype(dtype)
    # Only the columns that the regressor uses: it is sparse, and a basis of 400 directions is 100 MB.
    used = np.flatnonzero(np.any(arrays.joint_regressor != 0, axis=0))
    regressor = np.asarray(arrays.joint_regressor[:, used], np.float64)
    template = np.asarray(arrays.vertices_template[used], np.float64)
    shape_basis = np.asarray(arrays.shape_basis[used], np.float64)
    joint_basis = np.tensordot(regressor, shape_basis, axes=1)

    def device(array: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(np.ascontiguousarray(array, dtype))

    weights = np.asarray(arrays.skinning_weights, np.float64)
    weights = weights / weights.sum(-1, keepdims=True)
    bone_joints, bone_weights = few_bones(weights)
    hands = {
        f"{side}_hand": HandSpace(mean=device(space.mean), components=device(space.components))
        for side, space in arrays.hands
    }
    regressed = None
    if arrays.face is not None:
        regressed = regressors.from_barycentric(
            layouts.FACE51, arrays.face.triangles, arrays.face.coordinates, len(weights), dtype=np.dtype(dtype)
        )
    return BodyModel(
        template_planar=device(arrays.vertices_template.T),
        blend_basis=jnp.asarray(_blend_basis(arrays, np.dtype(dtype))),
        joint_template=device(regressor @ template),
        joint_shape_basis=device(joint_basis.transpose(2, 0, 1)),
        skinning_planar=device(weights.T),
        bone_joints=jnp.asarray(bone_joints.T, jnp.int32),
        bone_weights=device(bone_weights.T),
        faces=jnp.asarray(arrays.faces, jnp.int32),
        parents=tuple(arrays.parents),
        joint_names=tuple(arrays.joint_names),
        landmarks=tuple((name, int(vertex)) for name, vertex in arrays.landmark_vertex_ids),
        family=arrays.family,
        name=_name(arrays),
        checksum=arrays.checksum,
        gender=arrays.gender,
        num_expression=arrays.num_expression,
        regressed=regressed,
        **hands,
    )


def _name(arrays: BodyArrays) -> str:
    """Name of the file; `model.npz`, as SMPL-H is published, says nothing of itself."""
    stem = pathlib.PurePath(arrays.source).stem
    return f"{arrays.family}_{arrays.gender}" if stem == "model" else stem


def _blend_basis(arrays: BodyArrays, dtype: np.dtype) -> np.ndarray:
    """Shape, expression and pose blend shapes, planar, in one array written once."""
    parts = [arrays.shape_basis, *([] if arrays.pose_basis is None else [arrays.pose_basis])]
    stacked = np.empty((sum(part.shape[-1] for part in parts), 3, len(arrays.vertices_template)), dtype)
    row = 0
    for part in parts:
        stacked[row : row + part.shape[-1]] = part.transpose(2, 1, 0)
        row += part.shape[-1]
    return stacked
