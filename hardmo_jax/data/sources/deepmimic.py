"""Reader of the motion clips of DeepMimic: JSON rows of joint angles for one fixed humanoid.

The humanoid has 12 moving joints. Nothing turns its wrists or toes, and its head moves with the neck: labels made of
these clips know nothing of hands and feet beyond the ankles.
"""

import json
import os
import pathlib

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data.sources import motion_text
from hardmo_jax.data.sources.clip import MotionClip, MotionFileError

#: Columns of our axes (x left, y up, z forward) in DeepMimic's (x forward, y up, z right).
_FROM_DEEPMIMIC = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])

#: Joint, its parent, its place in DeepMimic's axes in metres, and how many numbers of a row turn it: 4 a quaternion
#: (w, x, y, z), 1 an angle about z, 0 nothing (a wrist). Moving joints stand in the order of the row.
_JOINTS = (
    ("root", "", (0.0, 0.0, 0.0), 4),
    ("chest", "root", (0.0, 0.236151, 0.0), 4),
    ("neck", "chest", (0.0, 0.223894, 0.0), 4),
    ("right_hip", "root", (0.0, 0.0, 0.084887), 4),
    ("right_knee", "right_hip", (0.0, -0.421546, 0.0), 1),
    ("right_ankle", "right_knee", (0.0, -0.409870, 0.0), 4),
    ("right_shoulder", "chest", (-0.02405, 0.24350, 0.18311), 4),
    ("right_elbow", "right_shoulder", (0.0, -0.274788, 0.0), 1),
    ("left_hip", "root", (0.0, 0.0, -0.084887), 4),
    ("left_knee", "left_hip", (0.0, -0.421546, 0.0), 1),
    ("left_ankle", "left_knee", (0.0, -0.409870, 0.0), 4),
    ("left_shoulder", "chest", (-0.02405, 0.24350, -0.18311), 4),
    ("left_elbow", "left_shoulder", (0.0, -0.274788, 0.0), 1),
    ("right_wrist", "right_elbow", (0.0, -0.258947, 0.0), 0),
    ("left_wrist", "left_elbow", (0.0, -0.258947, 0.0), 0),
)
_NUM_COLUMNS = 4 + sum(count for *_, count in _JOINTS)  # before the joints: duration and place of the root


#: Rows of a clip, and numbers in them: an hour at 30 frames a second.
_MAX_LISTS, _MAX_VALUES = 110_000, 5_000_000


def read_deepmimic(path: str | os.PathLike[str]) -> MotionClip:
    """Read a motion clip of DeepMimic, such as `humanoid3d_walk.txt`.

    Args:
        path: The JSON file with `Frames`, each a row of 44 numbers.

    Returns:
        The clip, the arms hanging down at rest. Its rate is that of the median duration of a row; a clip repeats
        (`Loop`) or not as one likes, and is read once.

    Raises:
        MotionFileError: If the file is damaged, too large or of another format.

    References:
        Peng et al., "DeepMimic", ACM Transactions on Graphics 2018; github.com/xbpeng/DeepMimic,
        `data/characters/humanoid3d.txt` for the skeleton.

    Notes:
        The duration of the last row means nothing (it is 0 in most files). Single rows that last longer than the
        others (`humanoid3d_roll`) are kept as one frame.
    """
    path = pathlib.Path(path)
    rows = _read_rows(path)
    rotations = np.tile(np.eye(3), (len(rows), len(_JOINTS), 1, 1))
    names = [name for name, *_ in _JOINTS]
    column = 4
    for index, (name, _, _, count) in enumerate(_JOINTS):
        columns = rows[:, column : column + count]
        column += count
        if count == 4:
            norms = np.linalg.norm(columns, axis=1)
            if not (np.abs(norms - 1) < 0.5).all():  # published clips are up to 0.19 off
                frame = int(np.abs(norms - 1).argmax())
                raise MotionFileError(f"{path}: frame {frame}: the quaternion of {name} is far from length 1")
            turned = Rotation.from_quat(columns[:, [1, 2, 3, 0]]).as_matrix()
        elif count == 1:
            turned = Rotation.from_euler("z", columns).as_matrix()
        else:
            continue
        rotations[:, index] = _FROM_DEEPMIMIC @ turned @ _FROM_DEEPMIMIC.T

    offsets = np.array([place for _, _, place, _ in _JOINTS]) @ _FROM_DEEPMIMIC.T
    translations = np.tile(offsets, (len(rows), 1, 1))
    translations[:, 0] = rows[:, 1:4] @ _FROM_DEEPMIMIC.T
    durations = rows[:-1, 0] if len(rows) > 1 else rows[:, 0]
    if not (durations > 0).all():
        raise MotionFileError(f"{path}: frame {int(durations.argmin())}: a duration of {durations.min():g} s")
    return MotionClip(
        name=path.stem,
        joint_names=tuple(names),
        parents=tuple(names.index(parent) if parent else -1 for _, parent, _, _ in _JOINTS),
        offsets=offsets,
        rotations=rotations,
        translations=translations,
        frames_per_second=1 / float(np.median(durations)),
    )


def _read_rows(path: pathlib.Path) -> Float[np.ndarray, "T N"]:
    text = motion_text.read_motion_text(path)
    # Each becomes an object of fifty bytes and more, whatever it was in the file.
    if text.count("[") + text.count("{") > _MAX_LISTS or text.count(",") > _MAX_VALUES:
        raise MotionFileError(f"{path}: more than {_MAX_LISTS} rows or {_MAX_VALUES} numbers; not a DeepMimic clip")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers of thousands of digits
        reason = " ".join(str(error).split())[:200]
        raise MotionFileError(f"{path}: no JSON ({reason}); cut off, or not a DeepMimic clip") from error
    frames = content.get("Frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        raise MotionFileError(f"{path}: expected a list of rows under 'Frames'; not a DeepMimic clip")
    motion_text.check_size(len(frames), len(_JOINTS), str(path))
    for frame, row in enumerate(frames):
        if not isinstance(row, list) or len(row) != _NUM_COLUMNS:
            size = len(row) if isinstance(row, list) else type(row).__name__
            raise MotionFileError(f"{path}: frame {frame}: expected {_NUM_COLUMNS} numbers, got {size}")
        if not all(isinstance(value, int | float) and abs(value) < 1e6 for value in row):  # NaN is not below
            raise MotionFileError(f"{path}: frame {frame}: a value is not a finite number")
    return np.array(frames, float)
