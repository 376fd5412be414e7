"""Sequences of 3DPW: bodies in the world, moved into the axes of the camera that filmed them."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax import safe_pickle
from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.data.published.keypoint_slots import into_slots
from hardmo_jax.data.published.label_fields import (
    LabelPlace,
    finite_label,
    label_numbers,
    positive_label,
    shown_label,
    split_confidence,
)
from hardmo_jax.data.published.person_records import BETAS, JOINTS, full_pose, person_record
from hardmo_jax.data.published.picture_names import picture_path
from hardmo_jax.data.training_records import PixelReference, TrainingRecord
from hardmo_jax.skeleton import layouts

#: Sequences with pictures of the clothes have some hundred megabytes.
_MAX_FILE_BYTES = 2 << 30
_MAX_FRAMES, _MAX_PEOPLE = 100_000, 10
_DETECTED = layouts.get_layout("openpose18").points
#: Box by the extent of the detected points, as SPIN makes it.
_BOX_GROWTH = 1.2
#: Rotations of cameras are rounded in the files.
_ROTATION_TOLERANCE = 1e-3
_NEUTRAL = "n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Actor:
    """One person of a sequence, T frames long."""

    poses: Float[np.ndarray, "T 72"]
    joints: Float[np.ndarray, "T 72"]
    detections: Float[np.ndarray, "T 3 18"]
    is_aligned: Bool[np.ndarray, "T"]
    """Whether the camera fits the picture."""
    betas: Float[np.ndarray, "10"]
    gender: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sequence:
    """What is needed of a file."""

    place: LabelPlace
    name: str
    cameras: Float[np.ndarray, "T 4 4"]
    """From the world into the camera."""
    focal_length: float
    actors: tuple[_Actor, ...]


class ThreeDpw:
    """People of the frames of 3DPW whose camera is aligned with the picture.

    Keypoints in the picture are OpenPose's detections, those in space the joints of the body. The translation of a body
    depends on where its model has the pelvis, and is not told; its pelvis in space is where `mid_hip` is.

    Args:
        paths: A `.pkl`, a folder of them, or several files. Nothing of them is executed.
        image_folder: `imageFiles`; it is looked at when pixels are.
        name: Of the source.
        least_keypoints: People with fewer detections in a frame are left out: many of them cannot be seen, and there is
            nothing to make a box of.
        takes_gendered_betas: Whether shapes of the women's and men's bodies of 3DPW are taken for those of the neutral
            body, whose coefficients mean other shapes.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If a field is missing or of another shape.
        UnsafePickleError: If a file would run code.
        CorruptPickleError: If a file is damaged.

    References:
        von Marcard et al., "Recovering Accurate 3D Human Pose in The Wild Using IMUs and a Moving Camera", ECCV 2018.
        Boxes and the turn of the root: SPIN, datasets/preprocess/pw3d.py.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        image_folder: str | os.PathLike[str],
        *,
        name: str = "3dpw",
        least_keypoints: int = 6,
        takes_gendered_betas: bool = False,
    ) -> None:
        if least_keypoints < 2:
            raise ValueError(f"`least_keypoints` must be at least 2, got {least_keypoints}")
        self.name = name
        self._folder, self._takes_gendered = os.fspath(image_folder), takes_gendered_betas
        self._sequences = [_read_sequence(path) for path in _files(paths)]
        # Sequence, frame, person.
        self._index: Int[np.ndarray, "N 3"] = np.array(
            [
                (number, frame, person)
                for number, sequence in enumerate(self._sequences)
                for person, actor in enumerate(sequence.actors)
                for frame in np.flatnonzero(
                    actor.is_aligned & (np.count_nonzero(actor.detections[:, 2] > 0, axis=-1) >= least_keypoints)
                )
            ],
            np.int64,
        ).reshape(-1, 3)

    def __len__(self) -> int:
        """Number of people, each frame by itself."""
        return len(self._index)

    def record(self, index: int) -> TrainingRecord:
        """One person of one frame.

        Raises:
            IndexError: If there is no such one.
            TrainingDataError: If this one's labels are damaged.
        """
        number, frame, person = (int(value) for value in self._index[range(len(self))[index]])
        sequence = self._sequences[number]
        actor = sequence.actors[person]
        place = LabelPlace(f"{sequence.place.text}: frame {frame}: person {person}")
        camera = finite_label(sequence.cameras[frame], "cam_poses", ((4, 4),), place)
        rotation = camera[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
            raise place.error("cam_poses", "rigid motions", "a matrix that is none")
        pose = full_pose(actor.poses[frame], "poses", place)
        pose[0] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[0])).as_rotvec()
        joints = finite_label(actor.joints[frame], "jointPositions", ((3 * JOINTS,),), place).reshape(JOINTS, 3)
        count = len(_DETECTED)
        points, confidence = split_confidence(actor.detections[frame].T, "poses2d", (count, 3), place)
        low, high = points[confidence > 0].min(0), points[confidence > 0].max(0)
        picture = f"{sequence.name}/image_{frame:05d}.jpg"
        has_betas = self._takes_gendered or actor.gender == _NEUTRAL
        return person_record(
            name=f"{picture}#{person}",
            pixels=PixelReference(path=picture_path(self._folder, picture, "sequence", place)),
            center=(low + high) / 2,
            size=positive_label(_BOX_GROWTH * (high - low).max(), "extent of poses2d", place),
            keypoints=into_slots(points, confidence, _DETECTED),
            keypoints_3d=into_slots(joints @ rotation.T + camera[:3, 3], np.ones(JOINTS), layouts.SMPL_JOINTS),
            pose=pose,
            betas=finite_label(actor.betas, "betas", ((BETAS,),), place) if has_betas else None,
            focal_length=sequence.focal_length,
        )


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[pathlib.Path]:
    if not isinstance(paths, str | os.PathLike):
        return [pathlib.Path(path) for path in paths]
    path = pathlib.Path(paths)
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.pkl"))
    if not found:
        raise LabelPlace(str(path)).error("the folder", "one of sequences, *.pkl", "none")
    return found


def _read_sequence(path: pathlib.Path) -> _Sequence:
    fields = safe_pickle.load(path, max_file_bytes=_MAX_FILE_BYTES)
    place = LabelPlace(str(path))
    if not isinstance(fields, dict):
        raise place.error("the file", "a dict", shown_label(fields))
    cameras = fields.get("cam_poses")
    count = len(cameras) if isinstance(cameras, np.ndarray) and cameras.ndim == 3 else 0
    if not 0 < count <= _MAX_FRAMES:
        raise place.error("cam_poses", f"of shape (T, 4, 4), T from 1 to {_MAX_FRAMES}", shown_label(cameras))
    name = fields.get("sequence")
    if not isinstance(name, str):
        raise place.error("sequence", "text", shown_label(name))
    people = _listed(fields, "poses", place)
    listed = {
        key: _listed(fields, key, place, len(people))
        for key in ("poses", "jointPositions", "poses2d", "campose_valid", "betas", "genders")
    }
    intrinsics = finite_label(fields.get("cam_intrinsics"), "cam_intrinsics", ((3, 3),), place)
    actors = [
        _actor({key: values[person] for key, values in listed.items()}, count, LabelPlace(f"{path}: person {person}"))
        for person in range(len(people))
    ]
    return _Sequence(
        place=place,
        name=name,
        cameras=label_numbers(cameras, "cam_poses", ((count, 4, 4),), place),
        focal_length=positive_label(intrinsics[0, 0], "cam_intrinsics", place),
        actors=tuple(actors),
    )


def _actor(fields: dict[str, Any], count: int, place: LabelPlace) -> _Actor:
    betas, gender = fields["betas"], fields["genders"]
    if not isinstance(betas, np.ndarray) or betas.size < BETAS:
        raise place.error("betas", f"at least {BETAS} numbers", shown_label(betas))
    if not isinstance(gender, str):
        raise place.error("genders", "text", shown_label(gender))
    size = 3 * JOINTS
    return _Actor(
        poses=label_numbers(fields["poses"], "poses", ((count, size),), place),
        joints=label_numbers(fields["jointPositions"], "jointPositions", ((count, size),), place),
        detections=label_numbers(fields["poses2d"], "poses2d", ((count, 3, len(_DETECTED)),), place),
        is_aligned=label_numbers(fields["campose_valid"], "campose_valid", ((count,),), place) > 0,
        betas=label_numbers(betas.reshape(-1)[:BETAS], "betas", ((BETAS,),), place),
        gender=gender,
    )


def _listed(fields: dict[Any, Any], key: str, place: LabelPlace, count: int | None = None) -> list[Any]:
    """A field with one entry for each person."""
    values = fields.get(key)
    if not isinstance(values, list) or not 0 < len(values) <= _MAX_PEOPLE or count not in (None, len(values)):
        expected = f"a list of {f'1 to {_MAX_PEOPLE}' if count is None else count}, one for each person"
        raise place.error(key, expected, shown_label(values))
    return values
