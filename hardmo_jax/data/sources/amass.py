"""Reader of AMASS sequences: SMPL-H or SMPL-X parameters over time, z up, with no skeleton of their own."""

import dataclasses
import os
import pathlib
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float, Shaped
from hardmo_jax.body import array_files
from hardmo_jax.data.sources import motion_text
from hardmo_jax.data.sources.clip import MotionFileError

_MAX_FILE_BYTES = 1 << 29
#: Family by number of joints.
_FAMILIES: dict[int, Literal["smpl", "smplh", "smplx"]] = {24: "smpl", 52: "smplh", 55: "smplx"}
#: Parts of the pose in the order of SMPL-X files, with their joints; SMPL-H has neither jaw nor eyes.
_PARTS = {"root_orient": 1, "pose_body": 21, "pose_jaw": 1, "pose_eye": 2, "pose_hand": 30}
_RATES = ("mocap_framerate", "mocap_frame_rate")
_KEYS = ("poses", "trans", "betas", "gender", "surface_model_type", *_RATES, *_PARTS)

#: World turn that takes z up to y up: x stays, y (away) becomes -z.
_Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class AmassClip:
    """Parameters of a body model over time, as `BodyParams.from_full_pose` takes them."""

    name: str
    """Name of the take, from the file."""
    family: Literal["smpl", "smplh", "smplx"]
    """Body model the parameters are for."""
    poses: Float[np.ndarray, "T J 3"]
    """Axis-angle of every joint in the order of the family, absolute (no mean hand left to add), radians."""
    betas: Float[np.ndarray, "S"]
    """Shape, 16 coefficients in most files."""
    transl: Float[np.ndarray, "T 3"]
    """Translation, metres."""
    gender: str
    """`female`, `male` or `neutral`: the model the betas are for."""
    frames_per_second: float
    """Rate of the motion."""
    up: Literal["y", "z"] = "z"
    """World axis that points up."""

    def to_y_up(self, pelvis: Float[np.ndarray, "3"]) -> "AmassClip":
        """The same motion in a world whose y points up.

        A body turns about its pelvis, which is not the origin of the model: with the pelvis at rest `p`, joints at
        rest `j` are posed to `R (j - p) + p + transl`. Turning the world by `A` hence gives `A R` for the root and
        `A (p + transl) - p` for the translation.

        Args:
            pelvis: Joint 0 of the body of these betas at rest without translation, metres.

        Raises:
            ValueError: If y is up already.
        """
        if self.up == "y":
            raise ValueError(f"{self.name}: y is up already")
        poses = self.poses.copy()
        root = Rotation.from_matrix(_Y_UP_FROM_Z_UP) * Rotation.from_rotvec(poses[:, 0])
        poses[:, 0] = root.as_rotvec()
        transl = (self.transl + pelvis) @ _Y_UP_FROM_Z_UP.T - pelvis
        return dataclasses.replace(self, poses=poses, transl=transl, up="y")


def read_amass(path: str | os.PathLike[str]) -> AmassClip:
    """Read a sequence of AMASS, or of a data set in its format.

    Both generations are read: `poses` with `mocap_framerate` (SMPL-H), and `root_orient`, `pose_body`, `pose_hand`
    with `mocap_frame_rate` (SMPL-X). Where a file has both, `poses` is taken. Nothing is unpickled.

    Args:
        path: The `.npz` file. `shape.npz` and `*_stagei.npz` of the same download hold no motion and are refused.

    Returns:
        The sequence with z up, as AMASS stores it; `AmassClip.to_y_up` turns it.

    Raises:
        MotionFileError: If the file is damaged, too large, holds Python objects or is of another format.

    References:
        Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV 2019.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise MotionFileError(f"{path}: no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise MotionFileError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MB; not a sequence of AMASS")
    try:
        arrays = array_files.read_npz(path.read_bytes(), source=str(path), keys=_KEYS)
    except array_files.BodyFileError as error:
        raise MotionFileError(str(error)) from error

    poses = _numbers(arrays, "poses", path) if "poses" in arrays else _joined_parts(arrays, path)
    if poses.ndim not in (2, 3) or not len(poses) or poses[0].size % 3 or poses[0].size // 3 not in _FAMILIES:
        raise MotionFileError(
            f"{path}: poses of shape {poses.shape}; expected (frames, joints * 3) with "
            f"{', '.join(map(str, _FAMILIES))} joints"
        )
    poses = poses.reshape(len(poses), -1, 3)
    family = _FAMILIES[poses.shape[1]]
    motion_text.check_size(len(poses), poses.shape[1], str(path))
    stated = _text(arrays, "surface_model_type", path).lower().replace("-", "").replace("+", "")
    if stated and stated != family:
        raise MotionFileError(f"{path}: states the model {stated!r} and has {poses.shape[1]} joints, those of {family}")
    transl = _numbers(arrays, "trans", path)
    if transl.shape != (len(poses), 3):
        raise MotionFileError(f"{path}: trans of shape {transl.shape}; expected {(len(poses), 3)}")
    rate_key = next((key for key in _RATES if key in arrays), _RATES[0])
    rate = _numbers(arrays, rate_key, path)
    if rate.size != 1 or not rate.item() > 0:
        raise MotionFileError(f"{path}: {rate_key} is {rate.tolist()}; expected a positive number")
    betas = _numbers(arrays, "betas", path)
    if betas.ndim == 2 and len(betas) and (betas == betas[0]).all():
        betas = betas[0]  # some conversions repeat them for every frame
    if betas.ndim != 1 or len(betas) > 300:
        raise MotionFileError(f"{path}: betas of shape {betas.shape}; expected one row of at most 300")
    return AmassClip(
        name=path.stem,
        family=family,
        poses=poses,
        betas=betas,
        transl=transl,
        gender=_text(arrays, "gender", path).lower() or "neutral",
        frames_per_second=float(rate.item()),
    )


def _joined_parts(arrays: dict[str, np.ndarray], path: pathlib.Path) -> Float[np.ndarray, "T N"]:
    """Poses from parts; jaw and eyes are at rest where a file of SMPL-X leaves them out."""
    root = _numbers(arrays, "root_orient", path)
    if root.ndim != 2:
        raise MotionFileError(f"{path}: root_orient of shape {root.shape}; expected (frames, 3)")
    has_face = "pose_jaw" in arrays or _text(arrays, "surface_model_type", path).lower() == "smplx"
    parts = []
    for key, joints in _PARTS.items():
        is_face = key in ("pose_jaw", "pose_eye")
        if is_face and not has_face:
            continue
        part = np.zeros((len(root), joints * 3)) if is_face and key not in arrays else _numbers(arrays, key, path)
        if part.shape != (len(root), joints * 3):
            raise MotionFileError(f"{path}: {key} of shape {part.shape}; expected {(len(root), joints * 3)}")
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _numbers(arrays: dict[str, np.ndarray], key: str, path: pathlib.Path) -> Float[np.ndarray, "..."]:
    """A finite array of numbers, in float64."""
    if key not in arrays:
        raise MotionFileError(f"{path}: no array {key!r}; not a sequence of AMASS")
    array = _plain(arrays[key], key, path)
    if array.dtype.kind not in "fiu":
        raise MotionFileError(f"{path}: {key} is of type {array.dtype}; expected numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise MotionFileError(f"{path}: {key} has values that are not finite")
    return array


def _text(arrays: dict[str, np.ndarray], key: str, path: pathlib.Path) -> str:
    """A word that is stored as an array of one string, or of its bytes; empty if there is none."""
    if key not in arrays:
        return ""
    array = _plain(arrays[key], key, path)
    if array.size != 1 or array.dtype.kind not in "SU":
        raise MotionFileError(f"{path}: {key} is of type {array.dtype}, shape {array.shape}; expected one word")
    word = array.item()
    word = word.decode("latin-1") if isinstance(word, bytes) else word
    # Python 2 wrote some genders as the text of a bytes literal.
    return word[2:-1] if word.startswith("b'") else word


def _plain(array: Shaped[np.ndarray, "..."], key: str, path: pathlib.Path) -> Shaped[np.ndarray, "..."]:
    if array.dtype.hasobject:
        raise MotionFileError(f"{path}: {key} holds Python objects, which are not unpickled; store a plain array")
    return array
