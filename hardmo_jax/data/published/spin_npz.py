"""Labels in the `.npz` files of SPIN and those that follow it, CLIFF and BEDLAM: one row for each person."""

import os
from typing import Any

import numpy as np

from hardmo_jax.array_types import Shaped
from hardmo_jax.data.published.keypoint_slots import SlotKeypoints, into_slots
from hardmo_jax.data.published.label_fields import (
    LabelPlace,
    finite_label,
    label_flag,
    positive_label,
    side_of_scale,
    split_confidence,
)
from hardmo_jax.data.published.npz_rows import NpzRows, number_rows
from hardmo_jax.data.published.person_records import BETAS, JOINTS, POSE_SHAPES, full_pose, person_record
from hardmo_jax.data.published.picture_names import picture_path
from hardmo_jax.data.training_records import PixelReference, TrainingRecord
from hardmo_jax.skeleton import layouts

_PIXELS_PER_SCALE = 200.0
_DETECTED = layouts.get_layout("openpose25").points
#: SPIN's 49 are these and then the 24 that people annotated.
_ANNOTATED = layouts.get_layout("spin_49").points[len(_DETECTED) :]
#: Joints that SMPL and SMPL-X share.
_BODY = layouts.SMPL_JOINTS[: layouts.SMPL_JOINTS.index("left_hand")]
#: Points of `smplx` models that have a name here: joints, and then points picked from the mesh.
_SMPL_POINTS = (*layouts.SMPL_JOINTS, *layouts.LANDMARKS)
_SMPLX_POINTS = (*layouts.SMPLX_JOINTS, *layouts.LANDMARKS)
#: Joints of the poses of BEDLAM's format: those shared, and SMPL, SMPL-H and SMPL-X with all theirs.
_POSE_JOINTS = (len(_BODY), JOINTS, len(layouts.SMPLH_JOINTS), len(layouts.SMPLX_JOINTS))
_BOX: dict[str, tuple[tuple[int, ...], ...]] = {"center": ((2,),), "scale": ((), (1,), (2,))}
_SPIN: dict[str, tuple[tuple[int, ...], ...]] = {
    "part": ((len(_ANNOTATED), 3),),
    "openpose": ((len(_DETECTED), 3),),
    "pose": POSE_SHAPES,
    "shape": ((BETAS,),),
    "has_smpl": ((), (1,)),
    "S": ((len(_ANNOTATED), 4),),
    "focal_l": ((), (1,)),
}
_BEDLAM: dict[str, tuple[tuple[int, ...], ...]] = {
    "pose_cam": tuple((3 * joints,) for joints in _POSE_JOINTS),
    "shape": ((10,), (11,), (16,)),
    "cam_int": ((3, 3),),
}
_NEUTRAL = ("", "n", "neutral")


class SpinNpz:
    """People of one file of SPIN, of CLIFF's pseudo-labels or of BEDLAM, told apart by its arrays.

    Detected and annotated points go to their slots; the five points of the face have one slot each, and what people
    annotated comes first. BEDLAM's bodies are SMPL-X: their poses are taken for SMPL's with hands at rest, their shapes
    not at all. Its projected joints are those that SMPL shares, and where the points of the mesh are stored too, face,
    feet and tips of fingers.

    Args:
        path: The `.npz`. Nothing of it is executed.
        image_folder: That its names of pictures are below; it is looked at when pixels are.
        name: Of the source; None for that of the file.
        takes_gendered_betas: Whether shapes of women's and men's bodies, where `gender` says so, are taken for those
            of the neutral body, whose coefficients mean other shapes.
        first_share: Share of the rows, from the first on, that are taken; BEDLAM's trainer takes 0.8 of its scenes.
        are_pictures_upright: Whether the pictures of BEDLAM's close-ups, which are published lying on their side, have
            been turned clockwise as the labels ask.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If it is damaged, of another format, or an array of another shape; or of close-ups lying on
            their side.

    References:
        SPIN, datasets/base_dataset.py; CLIFF's README; BEDLAM, train/dataset/dataset.py and
        data_processing/df_full_body.py.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        takes_gendered_betas: bool = False,
        first_share: float | int = 1.0,
        are_pictures_upright: bool = False,
    ) -> None:
        if not 0 < first_share <= 1:
            raise ValueError(f"`first_share` must be above 0 and at most 1, got {first_share}")
        file = NpzRows(path)
        self.name = name or file.path.stem
        self._file, self._folder = str(path), os.fspath(image_folder)
        self._takes_gendered = takes_gendered_betas
        self._is_bedlam = "pose_cam" in file.names
        if self._is_bedlam and "closeup" in file.path.name and not are_pictures_upright:
            raise file.place.error(
                "imgname",
                "of upright pictures",
                "close-ups, which are published lying on their side; turn them clockwise, and say are_pictures_upright",
            )
        shapes = _BOX | (_BEDLAM if self._is_bedlam else _SPIN)
        if not any(key in file.names for key in shapes if key not in _BOX):
            raise file.place.error("scale", "with labels of SPIN or BEDLAM", ", ".join(sorted(file.names)[:20]))
        rows = file.read(("imgname", *shapes, *(("gtkps",) if self._is_bedlam else ()), "gender"))
        for key in _BOX:
            if key not in rows:
                raise file.place.error(key, "among the arrays", ", ".join(sorted(file.names)[:20]))
        self._pictures, self._genders = rows.pop("imgname"), rows.pop("gender", None)
        if "gtkps" in rows:
            count = rows["gtkps"].shape[1] if rows["gtkps"].ndim == 3 else 0
            shapes["gtkps"] = ((max(count, len(_BODY)), 3),)
        self._rows = {key: number_rows(rows, key, shapes[key], file.place) for key in rows}
        self._count = max(1, int(first_share * len(self._pictures)))

    def __len__(self) -> int:
        """Number of people."""
        return self._count

    def record(self, index: int) -> TrainingRecord:
        """One person.

        Raises:
            IndexError: If there is no such person.
            TrainingDataError: If this one's labels are damaged, or its picture is out of the folder.
        """
        index = range(len(self))[index]
        row = {key: array[index] for key, array in self._rows.items()}
        place = LabelPlace(f"{self._file}: row {index}")
        parts = _bedlam_parts(row, place) if self._is_bedlam else _spin_parts(row, place)
        if not self._takes_gendered and self._genders is not None and not _is_neutral(self._genders[index]):
            parts["betas"] = None
        return person_record(
            name=f"{self._pictures[index]}#{index}",
            pixels=PixelReference(path=picture_path(self._folder, self._pictures[index].item(), "imgname", place)),
            center=finite_label(row["center"], "center", ((2,),), place),
            size=side_of_scale(row["scale"], "scale", place, pixels=_PIXELS_PER_SCALE),
            **parts,
        )


def _spin_parts(row: dict[str, Shaped[np.ndarray, "..."]], place: LabelPlace) -> dict[str, Any]:
    points, known, names = [], [], ()
    for key, layout in (("openpose", _DETECTED), ("part", _ANNOTATED)):
        if key in row:
            some, confidence = split_confidence(row[key], key, (len(layout), 3), place)
            points, known, names = [*points, some], [*known, confidence], (*names, *layout)
    keypoints = into_slots(np.concatenate(points), np.concatenate(known), names) if points else None
    keypoints_3d = None
    if "S" in row:
        keypoints_3d = into_slots(*split_confidence(row["S"], "S", (len(_ANNOTATED), 4), place), _ANNOTATED)
    has_smpl = "has_smpl" not in row or label_flag(row["has_smpl"], "has_smpl", place)
    return {
        "keypoints": keypoints,
        "keypoints_3d": keypoints_3d,
        "pose": full_pose(row["pose"], "pose", place) if has_smpl and "pose" in row else None,
        "betas": finite_label(row["shape"], "shape", ((BETAS,),), place) if has_smpl and "shape" in row else None,
        "focal_length": positive_label(row["focal_l"], "focal_l", place) if "focal_l" in row else None,
    }


def _bedlam_parts(row: dict[str, Shaped[np.ndarray, "..."]], place: LabelPlace) -> dict[str, Any]:
    given = finite_label(row["pose_cam"], "pose_cam", _BEDLAM["pose_cam"], place).reshape(-1, 3)
    is_smpl = len(given) == JOINTS
    pose = np.zeros((JOINTS, 3))
    kept = JOINTS if is_smpl else len(_BODY)
    pose[:kept] = given[:kept]
    betas = None
    if is_smpl and "shape" in row:
        betas = finite_label(row["shape"], "shape", _BEDLAM["shape"], place)[:BETAS]
    return {
        "keypoints": _projected_keypoints(row["gtkps"], is_smpl, place) if "gtkps" in row else None,
        "pose": pose,
        "betas": betas,
        "focal_length": positive_label(row["cam_int"][0, 0], "cam_int", place) if "cam_int" in row else None,
    }


def _projected_keypoints(value: Shaped[np.ndarray, "K 3"], is_smpl: bool, place: LabelPlace) -> SlotKeypoints:
    """Points of an `smplx` model in the picture, as far as it is certain which they are."""
    points = _SMPL_POINTS if is_smpl else _SMPLX_POINTS
    names = points if len(value) >= len(points) else _BODY
    return into_slots(*split_confidence(value[: len(names)], "gtkps", (len(names), 3), place), names)


def _is_neutral(gender: Any) -> bool:
    word = gender.decode("latin-1") if isinstance(gender, bytes) else str(gender)
    return word.lower() in _NEUTRAL
