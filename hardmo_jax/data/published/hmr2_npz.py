"""Labels in the `.npz` files of ProHMR, 4DHumans and HardMo: one row for each person, boxes in pixels."""

import os

import numpy as np

from hardmo_jax.data.published.hmr2_people import HAND_SHAPES, hmr2_keypoints, hmr2_keypoints_3d
from hardmo_jax.data.published.keypoint_slots import SLOTS
from hardmo_jax.data.published.label_fields import LabelPlace, finite_label, label_flag, side_of_scale
from hardmo_jax.data.published.npz_rows import NpzRows, number_rows
from hardmo_jax.data.published.person_records import BETAS, POSE_SHAPES, full_pose, person_record
from hardmo_jax.data.published.picture_names import picture_path
from hardmo_jax.data.training_records import PixelReference, TrainingRecord
from hardmo_jax.skeleton import layouts

_DETECTOR = layouts.get_layout("openpose25")
_ANNOTATED = len(SLOTS) - len(_DETECTOR)
#: Joints whose places in space the published loader does not believe.
_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_DISBELIEVED = [
    *_DETECTOR.indices(("neck", "mid_hip")),
    *(_DETECTOR.index(f"{side}_{joint}") for side in layouts.SIDES for joint in _JOINTS),
]
_SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "center": ((2,), (1, 2)),
    "scale": ((), (1,), (2,), (1, 1), (1, 2)),
    "body_pose": POSE_SHAPES,
    "has_body_pose": ((), (1,)),
    "betas": ((BETAS,),),
    "has_betas": ((), (1,)),
    "body_keypoints_2d": ((len(_DETECTOR), 3),),
    "extra_keypoints_2d": ((_ANNOTATED, 3),),
    "body_keypoints_3d": ((len(_DETECTOR), 4),),
    "extra_keypoints_3d": ((_ANNOTATED, 4),),
    "hand_keypoints_2d": HAND_SHAPES,
}
_NEEDED = ("center", "scale")
#: Of SPIN, CLIFF and BEDLAM, whose scales mean something else.
_FOREIGN = ("part", "openpose", "pose", "pose_cam", "gtkps", "S")


class Hmr2Npz:
    """People of one file.

    Args:
        path: The `.npz`. Nothing of it is executed.
        image_folder: That its names of pictures are below; it is looked at when pixels are.
        name: Of the source; None for that of the file.
        pixels_per_scale: What a `scale` of 1 stands for: 1 in published files, and 200 in some that HardMo's authors
            wrote for themselves.
        believes_joints_3d: Whether places in space of BODY_25's neck, mid-hip and limbs count. The published loader
            takes those of the 19 annotated points only, beside the face and feet.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If it is damaged, of another format, or an array of another shape.

    References:
        4D-Humans, hmr2/datasets/image_dataset.py: `center`, `scale`, and optional arrays; a pose without
        `has_body_pose` is not taken, nor are betas without `has_betas`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        pixels_per_scale: float | int = 1.0,
        believes_joints_3d: bool = False,
    ) -> None:
        file = NpzRows(path)
        self.name = name or file.path.stem
        self._file, self._folder = str(path), os.fspath(image_folder)
        self._pixels_per_scale, self._believes_joints_3d = pixels_per_scale, believes_joints_3d
        foreign = [key for key in _FOREIGN if key in file.names]
        if foreign and not any(key in file.names for key in _SHAPES if key not in _NEEDED):
            raise file.place.error("scale", "in pixels", f"a file with `{foreign[0]}`, which `SpinNpz` reads")
        rows = file.read(("imgname", *_SHAPES))
        self._pictures = rows.pop("imgname")
        for key in _NEEDED:
            if key not in rows:
                raise file.place.error(key, "among the arrays", ", ".join(sorted(file.names)[:20]))
        self._rows = {key: number_rows(rows, key, _SHAPES[key], file.place) for key in rows}

    def __len__(self) -> int:
        """Number of people."""
        return len(self._pictures)

    def record(self, index: int) -> TrainingRecord:
        """One person.

        Raises:
            IndexError: If there is no such person.
            TrainingDataError: If this one's labels are damaged, or its picture is out of the folder.
        """
        index = range(len(self))[index]
        picture = self._pictures[index]
        row = {key: array[index] for key, array in self._rows.items()}
        place = LabelPlace(f"{self._file}: row {index}")
        count = len(_DETECTOR)
        keypoints, keypoints_3d = np.zeros((len(SLOTS), 3)), np.zeros((len(SLOTS), 4))
        keypoints[:count] = row.get("body_keypoints_2d", 0)
        keypoints[count:] = row.get("extra_keypoints_2d", 0)
        keypoints_3d[:count] = row.get("body_keypoints_3d", 0)
        keypoints_3d[count:] = row.get("extra_keypoints_3d", 0)
        placed_3d = hmr2_keypoints_3d(keypoints_3d, place)
        if not self._believes_joints_3d:
            placed_3d.confidence[_DISBELIEVED] = 0
        return person_record(
            name=f"{picture}#{index}",
            pixels=PixelReference(path=picture_path(self._folder, picture.item(), "imgname", place)),
            center=finite_label(row["center"].reshape(-1), "center", ((2,),), place),
            size=side_of_scale(row["scale"].reshape(-1), "scale", place, pixels=self._pixels_per_scale),
            keypoints=hmr2_keypoints(keypoints, row.get("hand_keypoints_2d"), place),
            keypoints_3d=placed_3d,
            pose=full_pose(row["body_pose"], "body_pose", place) if self._has(row, "body_pose", place) else None,
            betas=finite_label(row["betas"], "betas", ((BETAS,),), place) if self._has(row, "betas", place) else None,
        )

    def _has(self, row: dict[str, np.ndarray], key: str, place: LabelPlace) -> bool:
        return key in row and f"has_{key}" in row and label_flag(row[f"has_{key}"], f"has_{key}", place)
