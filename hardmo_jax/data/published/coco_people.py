"""People of COCO keypoints, COCO-WholeBody and Halpe: points that were marked in photos, and nothing in space."""

import dataclasses
import json
import os
import pathlib
from typing import Any, Literal

import numpy as np

from hardmo_jax import safe_pickle
from hardmo_jax.array_types import Float
from hardmo_jax.data.published.keypoint_slots import have_slots, into_slots
from hardmo_jax.data.published.label_fields import (
    LabelPlace,
    finite_label,
    label_numbers,
    shown_label,
    split_confidence,
)
from hardmo_jax.data.published.person_records import person_record
from hardmo_jax.data.published.picture_names import picture_path
from hardmo_jax.data.training_records import PixelReference, TrainingDataError, TrainingRecord
from hardmo_jax.skeleton import layouts

#: COCO-WholeBody's training set, the largest, has 1 GB, 118 287 photos and 262 465 people.
_MAX_FILE_BYTES = 2 << 30
#: Brackets and braces of a file, counted before it is parsed: Python keeps `[]` in 64 bytes.
_MOST = {"lists": (b"[", 20_000_000), "objects": (b"{", 8_000_000), "values": (b",", 300_000_000)}
#: Layouts of `keypoints` by their number.
_LAYOUTS = {
    len(layouts.get_layout(name)): layouts.get_layout(name).points
    for name in ("coco17", "coco_feet23", "halpe26", "coco_wholebody133", "halpe136")
}
#: Further fields of COCO-WholeBody, whose points are those of its layout behind the body's, with what says whether
#: people could tell them.
_FEET = tuple(f"{side}_{point}" for side in layouts.SIDES for point in ("big_toe", "small_toe", "heel"))
_MORE = {
    "foot_kpts": (_FEET, "foot_valid"),
    "lefthand_kpts": (layouts.get_layout("left_hand21").points, "lefthand_valid"),
    "righthand_kpts": (layouts.get_layout("right_hand21").points, "righthand_valid"),
}


@dataclasses.dataclass(slots=True)
class _Annotation:
    """A person as the file has it, in little memory."""

    number: Any
    picture: Any
    box: Any
    parts: dict[str, Any]
    """Flat lists of x, y and visibility by field; arrays where they are numbers."""


class CocoPeople:
    """People of one annotation file.

    Points go to the slots of annotated points as SPIN puts them: `left_knee` to `left_knee_lsp`, those of face and feet
    to the only slots that they have; tips of the fingers are kept. The other points of hands and faces are left out.
    Visibility above 0 is certainty 1. Crowds are left out.

    Args:
        path: The `.json`.
        image_folder: That its names of photos are below; it is looked at when pixels are.
        name: Of the source; None for that of the file.
        slots: Where points of shoulders to ankles go; `detected` is for files in this format that a program wrote,
            which have certainties in the place of visibility.
        box_growth: Side of the box by the longer side of `bbox`; SPIN's and 4DHumans' is 1.2.
        least_keypoints: People with fewer that have a slot are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If it is too large, no JSON, or no such file.

    References:
        Jin et al., "Whole-Body Human Pose Estimation in the Wild", ECCV 2020, data_format.md; Fang et al.,
        "AlphaPose", TPAMI 2022, for Halpe. SPIN, datasets/preprocess/coco.py.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        slots: Literal["annotated", "detected"] = "annotated",
        box_growth: float | int = 1.2,
        least_keypoints: int = 5,
    ) -> None:
        if slots not in ("annotated", "detected"):
            raise ValueError(f"`slots` must be annotated or detected, got {slots!r}")
        path = pathlib.Path(path)
        self.name = name or path.stem
        self._file, self._folder = str(path), os.fspath(image_folder)
        self._is_annotated, self._growth = slots == "annotated", float(box_growth)
        place = LabelPlace(self._file)
        content = _read_json(path)
        if not isinstance(content, dict):
            raise place.error("the file", "an object", shown_label(content))
        self._pictures = _names_by_number(content.get("images"), place)
        people = content.get("annotations")
        if not isinstance(people, list):
            raise place.error("annotations", "a list", shown_label(people))
        for position, person in enumerate(people):
            if isinstance(person, dict):
                raise place.error(f"annotations[{position}]", "an object with `image_id`", shown_label(person))
        self._people = [
            person for person in people if isinstance(person, _Annotation) and self._has_enough(person, least_keypoints)
        ]

    def __len__(self) -> int:
        """Number of people."""
        return len(self._people)

    def record(self, index: int) -> TrainingRecord:
        """One person.

        Raises:
            IndexError: If there is no such person.
            TrainingDataError: If this one's labels are damaged, its photo is not listed or out of the folder.
        """
        person = self._people[range(len(self))[index]]
        place = LabelPlace(f"{self._file}: annotation {shown_label(person.number)}")
        if not isinstance(person.picture, int) or person.picture not in self._pictures:
            raise place.error("image_id", "the id of one of `images`", shown_label(person.picture))
        points, confidence, names = self._points(person, place)
        x, y, width, height = finite_label(person.box, "bbox", ((4,),), place)
        if not max(width, height) > 0:
            raise place.error("bbox", "wider or higher than 0", f"{width:g} x {height:g}")
        picture = self._pictures[person.picture]
        return person_record(
            name=f"{picture}#{person.number}",
            pixels=PixelReference(path=picture_path(self._folder, picture, "file_name", place)),
            center=np.array([x + width / 2, y + height / 2]),
            size=float(self._growth * max(width, height)),
            keypoints=into_slots(points, confidence, names, is_annotated=self._is_annotated),
        )

    def _points(
        self, person: _Annotation, place: LabelPlace
    ) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"], tuple[str, ...]]:
        """All points of a person that are told, by name."""
        points, known, names = [], [], ()
        for field, value in person.parts.items():
            some = _names(field, value)
            if not some:
                told = " or ".join(str(number) for number in _LAYOUTS)
                raise place.error(field, f"x, y and visibility of {told} points", shown_label(value))
            flat = label_numbers(value, field, ((3 * len(some),),), place)
            coordinates, visible = split_confidence(flat.reshape(-1, 3), field, (len(some), 3), place)
            points, known, names = (
                [*points, coordinates],
                [*known, np.sign(visible) if self._is_annotated else visible],
                (*names, *some),
            )
        return np.concatenate(points), np.concatenate(known), names

    def _has_enough(self, person: _Annotation, least: int) -> bool:
        """Whether so many points have a slot; also where the labels are damaged, so that they are not lost."""
        count = 0
        for field, value in person.parts.items():
            names = _names(field, value)
            if not isinstance(value, np.ndarray) or len(value) != 3 * len(names):
                return True
            count += int(np.count_nonzero(have_slots(names, self._is_annotated) & (value[2::3] > 0)))
        return count >= least


def _names(field: str, value: Any) -> tuple[str, ...]:
    """Of the points of a field; none where there is no layout of as many."""
    if field in _MORE:
        return _MORE[field][0]
    return _LAYOUTS.get(len(value) // 3, ()) if isinstance(value, np.ndarray | list) else ()


def _read_json(path: pathlib.Path) -> Any:
    """Content of a file, its annotations as `_Annotation` as soon as each is read."""
    try:
        data = safe_pickle.read_capped(path, max_file_bytes=_MAX_FILE_BYTES)
    except safe_pickle.UnsafePickleError as error:
        raise TrainingDataError(str(error)) from error
    for what, (mark, most) in _MOST.items():
        if data.count(mark) > most:
            raise TrainingDataError(f"{path}: must hold at most {most} {what}, got {data.count(mark)}; split the file")
    try:
        return json.loads(data, object_hook=_annotation)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingDataError(f"{path}: must be JSON, got {reason[:200]}") from error


def _annotation(fields: dict[str, Any]) -> Any:
    """An object of the file, in little memory if it is a person; None for crowds and people without keypoints."""
    if "image_id" not in fields:
        return fields
    if fields.get("iscrowd") or "keypoints" not in fields:
        return None
    kept = ["keypoints", *(field for field, (_, valid) in _MORE.items() if field in fields and fields.get(valid, True))]
    return _Annotation(
        number=fields.get("id"),
        picture=fields["image_id"],
        box=fields.get("bbox"),
        parts={field: _in_little_memory(fields[field]) for field in kept},
    )


def _in_little_memory(value: Any) -> Any:
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        try:
            return np.array(value, np.float64)
        except OverflowError:
            return value
    return value


def _names_by_number(images: Any, place: LabelPlace) -> dict[int, Any]:
    if not isinstance(images, list):
        raise place.error("images", "a list", shown_label(images))
    names = {}
    for position, image in enumerate(images):
        if not isinstance(image, dict) or type(image.get("id")) is not int or "file_name" not in image:
            raise place.error(f"images[{position}]", "an object with a number `id` and `file_name`", shown_label(image))
        names[image["id"]] = image["file_name"]
    return names
