"""Scenes from `.npz` files of SMPL-family motion: AMASS, the SMPL add-ons of Blender, robots."""

import pathlib
import re

import jax
import numpy as np

from hardmo_jax.array_types import Float, Shaped
from hardmo_jax.body import array_files
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.load import open_body
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data.sources.amass import AmassClip, read_amass
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.export.motion.joint_motion import rest_joints
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.motion.smpl_arrays import FILE_VERSION, is_published_mesh
from hardmo_jax.pipelines.label_rows import name_of_body

#: Keys of ours, beside those that `read_amass` knows.
_OWN_KEYS = (
    "hardmo_file_version", "frames_per_second", "body_model", "body_model_sha256", "body_family", "body_betas",
    "pelvis", "is_labelled", "track_name", "track_id", "first_frame", "scene_frames", "first_source_frame",
    "source_name", "smpl_hand_pose", "expressions",
)  # fmt: skip
_OPTIONAL_KEYS = ("smpl_hand_pose", "expressions")
#: Own keys of one text each, of whole numbers with the least and the greatest, and of real numbers.
_TEXT_KEYS = ("body_model", "body_model_sha256", "body_family", "track_name", "source_name")
_MOST_FRAMES = 10**6
_WHOLE_KEYS = {
    "first_frame": (0, _MOST_FRAMES), "scene_frames": (0, _MOST_FRAMES), "first_source_frame": (0, 10**9),
    "track_id": (0, 10**9),
}  # fmt: skip
_REAL_KEYS = ("frames_per_second", "body_betas", "pelvis", "smpl_hand_pose", "expressions")
_MOST_FRAMES_PER_SECOND = 1000.0
_MOST_TEXT, _MOST_TOLD, _MOST_TRACK_NAME = 255, 60, 64
#: By these a file is known as one of SMPL-family motion.
_SMPL_KEYS = ("poses", "root_orient")


def read_smpl_scene(path: pathlib.Path, body: BodyModel | None, frames_per_second: float | int | None) -> SceneMotion:
    """The scene of one `.npz` file, see `motion_files.read_scene`.

    Args:
        path: The file.
        body: Whole body to read it on; None takes the open body.
        frames_per_second: In place of the file's rate.

    Raises:
        MotionFileError: If the file is damaged or of another layout, or its shape cannot be that of the body.
    """
    clip, own = _read_npz_file(path)
    is_ours = "hardmo_file_version" in own
    body = _body_of_file(path, own, clip) if body is None else body
    betas = _shape_on(path, body, clip, own)
    expression = own.get("expressions")
    if body.num_expression == 0 or expression is None:
        expression = np.zeros((len(clip.poses), body.num_expression))
    elif expression.shape != (len(clip.poses), body.num_expression):
        raise MotionFileError(
            f"{path}: expressions of shape {expression.shape}, and the body takes {body.num_expression} coefficients; "
            f"load it with num_expression={expression.shape[-1]}"
        )
    transl = clip.transl
    if "pelvis" in own:
        transl = own["pelvis"] - rest_joints(body, betas, expression)[:, 0]
    rate = float(own["frames_per_second"]) if "frames_per_second" in own else clip.frames_per_second
    count = len(clip.poses)
    first = int(own.get("first_frame", 0))
    params = params_of_poses(body, _poses_on(body, clip, own), betas, transl, expression)
    return SceneMotion(
        name=path.stem,
        source_name=_printable(own["source_name"].item(), path.name) if is_ours else path.name,
        body=body,
        body_name=_printable(own["body_model"].item(), body.name) if _is_of_file(body, own) else name_of_body(body),
        frames_per_second=rate if frames_per_second is None else float(frames_per_second),
        num_frames=max(int(own.get("scene_frames", 0)), first + count),
        first_source_frame=int(own.get("first_source_frame", 0)),
        tracks=(
            TrackMotion(
                name=_track_name(own["track_name"].item(), path) if is_ours else path.stem,
                track_id=int(own.get("track_id", 0)),
                first_frame=first,
                params=params,
                is_labelled=np.asarray(own.get("is_labelled", np.ones(count)), bool),
            ),
        ),
        camera=None,
        floor="file",
    )


def _read_npz_file(path: pathlib.Path) -> tuple[AmassClip, dict[str, Shaped[np.ndarray, "..."]]]:
    """The motion by the reader of AMASS, and the keys that are ours."""
    if not path.is_file():
        raise MotionFileError(f"{path}: no such file")
    try:
        arrays = array_files.read_npz(path.read_bytes(), source=str(path), keys=(*_OWN_KEYS, *_SMPL_KEYS))
    except array_files.BodyFileError as error:
        raise MotionFileError(str(error)) from error
    if not any(key in arrays for key in _SMPL_KEYS):
        raise MotionFileError(
            f"{path}: holds neither `poses` nor `root_orient`; expected AMASS's layout: poses (T, 156) or (T, 165), "
            "trans (T, 3), betas, gender, mocap_frame_rate"
        )
    own = {key: array for key, array in arrays.items() if key in _OWN_KEYS}
    if "hardmo_file_version" not in own:
        return read_amass(path), {}
    if own["hardmo_file_version"].tolist() != FILE_VERSION:
        raise MotionFileError(
            f"{path}: hardmo_file_version {own['hardmo_file_version'].tolist()}, expected {FILE_VERSION}; a newer "
            "version of this package wrote it"
        )
    clip = read_amass(path)
    _check_own(path, own, len(clip.poses))
    return clip, own


def _check_own(path: pathlib.Path, own: dict[str, Shaped[np.ndarray, "..."]], count: int) -> None:
    """Refuse a file of ours that somebody has cut or changed in part."""
    shapes = {"pelvis": (count, 3), "is_labelled": (count,), "smpl_hand_pose": (count, 2, 3)}
    for key in _OWN_KEYS:
        if key not in own and key not in _OPTIONAL_KEYS:
            raise MotionFileError(f"{path}: `{key}` is missing from a file of this package; export it again")
        if key not in own:
            continue
        array = own[key]
        wanted = shapes.get(key, () if key not in ("body_betas", "expressions") else array.shape)
        if array.shape != wanted:
            raise MotionFileError(
                f"{path}: `{key}` has shape {array.shape}, expected {wanted} beside {count} frames of poses; whoever "
                "cuts such a file cuts all of its arrays, or removes `hardmo_file_version` and is read as anybody's"
            )
        wanted_values = _fault(key, array)
        if wanted_values is not None:
            raise MotionFileError(
                f"{path}: `{key}` is {_told(array)}, expected {wanted_values}; export the file again, or remove "
                "`hardmo_file_version` and it is read as anybody's"
            )


def _fault(key: str, array: Shaped[np.ndarray, "..."]) -> str | None:
    """What the values of a key of ours must be, where they are not."""
    kind = array.dtype.kind
    if key in _TEXT_KEYS:
        return None if kind == "U" else "a text"
    if key in _WHOLE_KEYS:
        least, most = _WHOLE_KEYS[key]
        return None if kind in "iu" and least <= array.item() <= most else f"a whole number from {least} to {most}"
    if key == "is_labelled":
        return None if kind == "b" else "true or false for each frame"
    if key in _REAL_KEYS and (kind not in "fiu" or not np.isfinite(array).all()):
        return "numbers that are finite"
    if key == "frames_per_second" and not 0 < array.item() <= _MOST_FRAMES_PER_SECOND:
        return f"more than 0 and at most {_MOST_FRAMES_PER_SECOND:g} frames a second"
    if key == "body_betas" and array.ndim != 1:
        return "one row of numbers"
    return None


def _told(array: Shaped[np.ndarray, "..."]) -> str:
    """Values of a file for a message, of which control characters are shown as such."""
    told = repr(array.item()) if array.ndim == 0 else f"of {array.dtype}, {array.ravel()[:3].tolist()!r} and so on"
    return told if len(told) <= _MOST_TOLD else told[:_MOST_TOLD] + "..."


def _track_name(name: str, path: pathlib.Path) -> str:
    """Name of a person as parts of file names may be: letters, digits, `_` and `-`, and not many."""
    return re.sub(r"[^\w-]", "_", name)[:_MOST_TRACK_NAME] or path.stem


def _printable(name: str, otherwise: str) -> str:
    """Name of a file or body without folders, and without what a terminal would take for a command."""
    last = pathlib.PurePosixPath(name.replace("\\", "/")).name
    return "".join(letter for letter in last if letter.isprintable())[:_MOST_TEXT] or otherwise


def _body_of_file(path: pathlib.Path, own: dict[str, Shaped[np.ndarray, "..."]], clip: AmassClip) -> BodyModel:
    body = open_body(view="smpl" if str(own.get("body_family", clip.family)) == "smpl" else "smplh")
    if own and not _is_of_file(body, own):
        raise MotionFileError(
            f"{path}: is of the body {_told(own['body_model'])}; give it as `body=` (hm.load_body), or hm.open_body() "
            "to have the motion in the mean shape of another"
        )
    return body


def _is_of_file(body: BodyModel, own: dict[str, Shaped[np.ndarray, "..."]]) -> bool:
    """Whether a file of ours has the shape space of this body. Both views of the open body are one file."""
    return bool(own) and str(own["body_model_sha256"]) == body.checksum


def _shape_on(
    path: pathlib.Path, body: BodyModel, clip: AmassClip, own: dict[str, Shaped[np.ndarray, "..."]]
) -> Float[np.ndarray, "S"]:
    """Shape of the body for a file: the file's where both are of one shape space, else the mean."""
    betas = np.zeros(body.num_betas)
    if _is_of_file(body, own):
        if len(own["body_betas"]) != body.num_betas:
            raise MotionFileError(
                f"{path}: {len(own['body_betas'])} shape coefficients, and the body takes {body.num_betas}; "
                f"load it with num_betas={len(own['body_betas'])}"
            )
        return np.asarray(own["body_betas"], np.float64)
    # The robots' files have `betas` of SMPL-X only, whatever their poses.
    if not np.any(clip.betas) or not is_published_mesh(body):
        return betas
    if (body.family == "smplx") != (clip.family == "smplx"):
        raise MotionFileError(
            f"{path}: its shape is of {clip.family} and means another person on a body of {body.family}; give a body "
            f"of {clip.family}, or hm.open_body() for the motion alone"
        )
    if body.gender in ("neutral", "female", "male") and body.gender != clip.gender:
        raise MotionFileError(
            f"{path}: its shape is of the {clip.gender} body and means another person on the {body.gender} one; load "
            f"the {clip.gender} body, or give hm.open_body() for the motion alone"
        )
    if np.any(clip.betas[body.num_betas :]):
        raise MotionFileError(
            f"{path}: {len(clip.betas)} shape coefficients, and the body takes {body.num_betas}; load it with "
            f"num_betas={len(clip.betas)}"
        )
    shared = min(len(clip.betas), body.num_betas)
    betas[:shared] = clip.betas[:shared]
    return betas


def _poses_on(
    body: BodyModel, clip: AmassClip, own: dict[str, Shaped[np.ndarray, "..."]]
) -> Float[np.ndarray, "T J 3"]:
    """Rotations of the body's joints by name; joints that the file lacks are at rest, and those the body lacks left."""
    column = {name: place for place, name in enumerate(FAMILIES[clip.family].joint_names)}
    poses = np.zeros((len(clip.poses), body.num_joints, 3))
    for place, name in enumerate(body.joint_names):
        if name in column:
            poses[:, place] = clip.poses[:, column[name]]
    if body.family == "smpl" and "smpl_hand_pose" in own:
        poses[:, -2:] = own["smpl_hand_pose"]
    return poses


def params_of_poses(
    body: BodyModel,
    poses: Float[np.ndarray, "T J 3"],
    betas: Float[np.ndarray, "S"],
    transl: Float[np.ndarray, "T 3"],
    expression: Float[np.ndarray, "T E"],
) -> BodyParams:
    """Parameters of one shape in the body's precision, as NumPy arrays.

    Args:
        body: The body.
        poses: Axis-angle of its joints, frames first.
        betas: Its shape.
        transl: Metres.
        expression: Of SMPL-X; of any other body without columns.
    """
    dtype = body.joint_template.dtype
    params = BodyParams.from_full_pose(
        body,
        poses.astype(dtype),
        betas=np.tile(betas, (len(poses), 1)).astype(dtype),
        transl=transl.astype(dtype),
        expression=expression.astype(dtype) if FAMILIES[body.family].expression_start else None,
    )
    return jax.tree.map(np.asarray, params)
