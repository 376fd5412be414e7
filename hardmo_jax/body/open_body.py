"""The body model that comes with the package and needs no licence: its arrays, as NumPy.

The asset has the skeleton of SMPL-H (52 joints) on a mesh of its own, without pose blend shapes. Seen as `smpl`,
the fifteen joints of each hand are folded into one, so that 24-joint poses drive it. Lengths are metres; rest
pose, axes and joint order are those of `hardmo_jax.body.families`.
"""

import hashlib
from typing import Literal

import numpy as np
from jaxtyping import Float

from hardmo_jax.body import learnt_files
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.body.arrays import BodyArrays, check_faces, check_shape, check_weights, slice_columns
from hardmo_jax.body.families import BODY_PARENTS, FAMILIES
from hardmo_jax.skeleton import layouts

_ASSET = "open_body.npz"
_VIEWS = ("smpl", "smplh")
_FORMAT_VERSION = 1
_KEYS = (
    "format_version", "v_template", "shapedirs", "J_regressor_row", "J_regressor_col", "J_regressor_val",
    "weights_index", "weights_value", "f", "kintree_table", "joint_names", "landmark_names",
    "landmark_vertex_ids",
)  # fmt: skip
#: Finger joint whose rest position stands for SMPL's `left_hand` and `right_hand`.
_HAND_JOINT = "{side}_middle1"


def load_open_body_arrays(view: Literal["smpl", "smplh"], *, num_betas: int | None = 10) -> BodyArrays:
    """Read the package's own body model.

    Args:
        view: `smplh` for articulated fingers, `smpl` for one rigid joint a hand.
        num_betas: Number of shape coefficients to keep; None keeps all.

    Returns:
        Checked arrays; `pose_basis` is None.

    Raises:
        ValueError: If `view` is unknown.
        FileNotFoundError: If the package was installed without its data.
    """
    data = learnt_files.asset_bytes(f"body/assets/{_ASSET}", "`python body_models/build_open_body.py` makes it")
    return read_open_body(data, view, num_betas=num_betas)


def read_open_body(
    data: bytes,
    view: Literal["smpl", "smplh"],
    *,
    num_betas: int | None = 10,
    source: str = _ASSET,
) -> BodyArrays:
    """Read a body in the open layout from the bytes of its `.npz` file.

    Args:
        data: The whole file.
        view: `smplh` for articulated fingers, `smpl` for one rigid joint a hand.
        num_betas: Number of shape coefficients to keep; None keeps all.
        source: Name to use in messages and in the result.

    Returns:
        Checked arrays; `pose_basis` is None.

    Raises:
        ValueError: If `view` is unknown.
        BodyFileError: If the file is damaged or of another layout.
    """
    if view not in _VIEWS:
        raise ValueError(f"view must be one of {', '.join(_VIEWS)}, got {view!r}")
    arrays = read_npz(data, source=source, keys=_KEYS)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise BodyFileError(f"{source}: {', '.join(missing)} missing from the open body")
    version = arrays["format_version"].reshape(-1).tolist()
    if version != [_FORMAT_VERSION]:
        raise BodyFileError(f"{source}: format_version must be {_FORMAT_VERSION}, got {version}")

    family, stored = FAMILIES[view], FAMILIES["smplh"]
    if tuple(arrays["joint_names"].tolist()) != stored.joint_names:
        raise BodyFileError(f"{source}: joint_names are not the 52 joints of SMPL-H")
    if tuple(arrays["kintree_table"][0].tolist()) != stored.parents:
        raise BodyFileError(f"{source}: kintree_table is not the tree of SMPL-H")
    template, basis = arrays["v_template"], arrays["shapedirs"]
    check_shape(template.shape, ("V", 3), "v_template", source)
    num_vertices = len(template)
    check_shape(basis.shape, (num_vertices, 3, "S"), "shapedirs", source)
    check_shape(arrays["f"].shape, ("F", 3), "f", source)
    for key in ("v_template", "shapedirs", "J_regressor_val", "weights_value"):
        if arrays[key].dtype.kind != "f" or not np.all(np.isfinite(arrays[key])):
            raise BodyFileError(f"{source}: {key} is not made of finite numbers")

    regressor = _dense_regressor(arrays, num_vertices, source)
    weights = _dense_weights(arrays, num_vertices, source)
    if view == "smpl":
        regressor, weights = _fold_hands(regressor, weights)
    check_weights(weights, source)
    ids = arrays["landmark_vertex_ids"].tolist()
    if any(not 0 <= vertex < num_vertices for vertex in ids):
        raise BodyFileError(f"{source}: a landmark lies outside the mesh")
    for array in (regressor, weights):
        array.setflags(write=False)
    return BodyArrays(
        family=view,
        gender="neutral",
        vertices_template=template,
        shape_basis=slice_columns(basis, basis.shape[-1], num_betas=num_betas, num_expression=0, source=source)[0],
        num_expression=0,
        pose_basis=None,
        joint_regressor=regressor,
        skinning_weights=weights,
        faces=check_faces(arrays["f"], num_vertices, source),
        parents=family.parents,
        joint_names=family.joint_names,
        landmark_vertex_ids=tuple(zip(arrays["landmark_names"].tolist(), ids, strict=True)),
        checksum=hashlib.sha256(data).hexdigest(),
        source=source,
    )


def _dense_regressor(arrays: dict[str, np.ndarray], num_vertices: int, source: str) -> Float[np.ndarray, "J V"]:
    """Spell out the joint regressor, stored as coordinates."""
    rows, columns, values = (arrays[f"J_regressor_{part}"] for part in ("row", "col", "val"))
    num_joints = len(layouts.SMPLH_JOINTS)
    for index, size in ((rows, num_joints), (columns, num_vertices)):
        if index.shape != values.shape or index.min() < 0 or index.max() >= size:
            raise BodyFileError(f"{source}: J_regressor has an entry outside the model")
    dense = np.zeros((num_joints, num_vertices))
    np.add.at(dense, (rows, columns), values)
    return dense


def _dense_weights(arrays: dict[str, np.ndarray], num_vertices: int, source: str) -> Float[np.ndarray, "V J"]:
    """Spell out the skinning weights, stored as the few joints of each vertex."""
    index, values = arrays["weights_index"], arrays["weights_value"]
    num_joints = len(layouts.SMPLH_JOINTS)
    if index.shape != values.shape or index.shape[:1] != (num_vertices,) or index.ndim != 2:
        raise BodyFileError(f"{source}: weights_index and weights_value do not fit the mesh")
    if index.min() < 0 or index.max() >= num_joints:
        raise BodyFileError(f"{source}: weights_index names a joint outside the model")
    dense = np.zeros((num_vertices, num_joints), values.dtype)
    np.add.at(dense, (np.arange(num_vertices)[:, None], index), values)
    return dense


def _fold_hands(
    regressor: Float[np.ndarray, "J V"], weights: Float[np.ndarray, "V J"]
) -> tuple[Float[np.ndarray, "j V"], Float[np.ndarray, "V j"]]:
    """Make 24 joints of 52: one hand joint a side, at the middle finger's root, moves the whole hand."""
    names = layouts.SMPLH_JOINTS
    num_body = len(BODY_PARENTS)
    rows, columns = [regressor[:num_body]], [weights[:, :num_body]]
    for side in layouts.SIDES:
        fingers = [j for j in range(num_body, len(names)) if names[j].startswith(f"{side}_")]
        rows.append(regressor[[names.index(_HAND_JOINT.format(side=side))]])
        columns.append(weights[:, fingers].sum(axis=1, keepdims=True))
    return np.concatenate(rows, axis=0), np.concatenate(columns, axis=1)
