"""Labels in the tars of 4DHumans and HardMo: photos, and beside each a pickled list of the people in it.

A WebDataset: files of one photo have one name up to its first dot and follow each other. Pickles are read by
`safe_pickle`'s machine, and nothing in them is executed; nothing is unpacked to disk either.
"""

import multiprocessing
import os
import re
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from hardmo_jax import safe_pickle
from hardmo_jax.array_types import Int
from hardmo_jax.data.published.hmr2_filters import Hmr2Filters, distrust, is_wanted
from hardmo_jax.data.published.hmr2_people import hmr2_keypoints, hmr2_keypoints_3d
from hardmo_jax.data.published.label_fields import (
    LabelPlace,
    finite_label,
    label_flag,
    label_numbers,
    shown_label,
    side_of_scale,
)
from hardmo_jax.data.published.person_records import BETAS, full_pose, person_record
from hardmo_jax.data.published.tar_members import TarMember, tar_content, tar_member_at, tar_members
from hardmo_jax.data.training_records import PixelReference, TrainingDataError, TrainingRecord
from hardmo_jax.safe_pickle import loads_with_object_arrays

#: Folder and name up to the first dot, and all behind it, as WebDataset splits them.
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_LABELS, _PHOTOS = ("data.pyd", "pyd"), ("jpg", "jpeg", "png")
#: Labels of a person are about 4 kB.
_MAX_LABEL_BYTES = 1 << 24
_MAX_PEOPLE = 1000
_PIXELS_PER_SCALE = 200.0
_NO_PHOTO = -1
#: Letters of a file's name that a message repeats.
_MAX_NAME = 200


class Hmr2Tars:
    """People of one or more tars.

    All labels are read once at the start, for who is in them and whom the filters leave out; the index is kept in
    memory, 40 bytes a person. A person whose labels are damaged keeps its number and fails when it is asked for.

    Args:
        paths: A tar, or several; uncompressed.
        filters: Who is left out, and what is not believed.
        name: Of the source; None for that of the first tar.
        believes_keypoints_3d: Whether keypoints in space count. HardMo's loader leaves them out.
        skipped_keys: Photos to leave out, by their name in the tar up to the first dot.
        num_processes: That read labels at the start, each a tar at a time; a process reads about 1000 people a second.

    Raises:
        FileNotFoundError: If there is no such tar.
        TrainingDataError: If it is compressed, cut off or damaged, or holds no labels.

    References:
        4D-Humans, hmr2/datasets/image_dataset.py, `load_tars_as_webdataset`.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        filters: Hmr2Filters | None = None,
        name: str | None = None,
        believes_keypoints_3d: bool = True,
        skipped_keys: frozenset[str] = frozenset(),
        num_processes: int = 1,
    ) -> None:
        listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        if not listed:
            raise ValueError("`paths` must name a tar, got none")
        self._paths = [os.fspath(path) for path in listed]
        self.name = name or os.path.splitext(os.path.basename(self._paths[0]))[0]
        self._filters, self._believes_3d = filters or Hmr2Filters(), believes_keypoints_3d
        self._skipped = skipped_keys
        # Tar, where the headers of the labels begin, where the photo begins, how long it is, which of the people.
        tars = range(len(self._paths))
        if num_processes == 1:
            tables = [self._table(tar) for tar in tars]
        else:
            # Not forked: a process in which JAX runs has threads.
            context = multiprocessing.get_context("spawn")
            with futures.ProcessPoolExecutor(num_processes, mp_context=context) as pool:
                tables = list(pool.map(self._table, tars))
        self._index = np.concatenate(tables)

    def __len__(self) -> int:
        """Number of people."""
        return len(self._index)

    def record(self, index: int) -> TrainingRecord:
        """One person.

        Raises:
            IndexError: If there is no such person.
            TrainingDataError: If this one's labels are damaged, or the tar was changed meanwhile.
            UnsafePickleError: If its labels would run code.
            CorruptPickleError: If its labels are no pickle.
        """
        tar, label, photo, num_bytes, person = (int(value) for value in self._index[range(len(self))[index]])
        path = self._paths[tar]
        member, content = tar_member_at(path, label, max_bytes=_MAX_LABEL_BYTES)
        place = _place(path, member)
        if num_bytes == _NO_PHOTO:
            raise place.error("photo", "a jpg, jpeg or png of the same name", "nothing")
        people = _people(content, place)
        pixels = PixelReference(path=path, member_offset=photo, member_bytes=num_bytes)
        return self._record(people, person, pixels, path, member)[0]

    def _table(self, tar: int) -> Int[np.ndarray, "N 5"]:
        return np.array(list(self._rows(tar)), np.int64).reshape(-1, 5)

    def _rows(self, tar: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Rows of the index."""
        path = self._paths[tar]
        with open(path, "rb") as file:
            num_labels = 0
            for label, photo in _photos(path, self._skipped):
                num_labels += 1
                offset, num_bytes = (photo.offset, photo.size) if photo else (0, _NO_PHOTO)
                try:
                    people = _people(tar_content(file, label, path, max_bytes=_MAX_LABEL_BYTES), _place(path, label))
                except (TrainingDataError, safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError):
                    yield tar, label.header_offset, offset, num_bytes, 0
                    continue
                pixels = PixelReference(path=path, member_offset=offset, member_bytes=num_bytes)
                for person in range(len(people)):
                    if self._is_kept(people, person, pixels, path, label):
                        yield tar, label.header_offset, offset, num_bytes, person
        if not num_labels:
            raise TrainingDataError(f"{path}: must hold labels of photos, `KEY.data.pyd`, got none")

    def _is_kept(self, people: list[Any], person: int, pixels: PixelReference, path: str, label: TarMember) -> bool:
        try:
            record, loss = self._record(people, person, pixels, path, label)
        except TrainingDataError:
            return True
        return is_wanted(record, loss, self._filters)

    def _record(
        self, people: list[Any], person: int, pixels: PixelReference, path: str, label: TarMember
    ) -> tuple[TrainingRecord, float | None]:
        """A person and the loss of the fit."""
        place = LabelPlace(f"{_place(path, label).text}: person {person}")
        if person >= len(people) or not isinstance(people[person], dict):
            raise place.error("person", "a dict", shown_label(people[person : person + 1]))
        fields = people[person]
        has_pose = label_flag(fields.get("has_body_pose"), "has_body_pose", place)
        has_betas = label_flag(fields.get("has_betas"), "has_betas", place)
        keypoints_3d = fields.get("keypoints_3d") if self._believes_3d else None
        record = person_record(
            name=f"{path}/{label.name[:_MAX_NAME]}#{person}",
            pixels=pixels,
            center=finite_label(fields.get("center"), "center", ((2,),), place),
            size=side_of_scale(fields.get("scale"), "scale", place, pixels=_PIXELS_PER_SCALE),
            keypoints=hmr2_keypoints(fields.get("keypoints_2d"), fields.get("hand_keypoints_2d"), place),
            keypoints_3d=None if keypoints_3d is None else hmr2_keypoints_3d(keypoints_3d, place),
            pose=full_pose(fields.get("body_pose"), "body_pose", place) if has_pose else None,
            betas=finite_label(fields.get("betas"), "betas", ((BETAS,),), place) if has_betas else None,
        )
        return distrust(record, self._filters), _reprojection_loss(fields, place)


def _photos(path: str, skipped: frozenset[str]) -> Iterator[tuple[TarMember, TarMember | None]]:
    """Labels of a tar, each with its photo."""
    key, label, photo = None, None, None
    for member in tar_members(path):
        split = _NAME.fullmatch(member.name)
        if split is None:
            continue
        if split[1] != key:
            if label is not None and key not in skipped:
                yield label, photo
            key, label, photo = split[1], None, None
        if split[2].lower() in _LABELS:
            label = member
        elif split[2].lower() in _PHOTOS:
            photo = member
    if label is not None and key not in skipped:
        yield label, photo


def _place(path: str, member: TarMember) -> LabelPlace:
    return LabelPlace(f"{path}: {ascii(member.name[:_MAX_NAME])[1:-1]}")


def _people(content: bytes, place: LabelPlace) -> list[Any]:
    people = loads_with_object_arrays(content, source=place.text)
    if not isinstance(people, list) or not len(people) <= _MAX_PEOPLE:
        raise place.error("labels", f"a list of at most {_MAX_PEOPLE} people", shown_label(people))
    return people


def _reprojection_loss(told: Any, place: LabelPlace) -> float | None:
    """Of the fit that a pose comes from: `extra_info.fitting_loss.reprojection_loss`, where it is told."""
    for field in ("extra_info", "fitting_loss", "reprojection_loss"):
        told = told.get(field) if isinstance(told, dict) else None
        if isinstance(told, np.ndarray) and told.dtype.kind == "O" and told.size == 1:
            told = told.reshape(-1)[0]  # the published loader takes the dict out of an array without axes
        if told is None:
            return None
        if field != "reprojection_loss" and not isinstance(told, dict):
            raise place.error(field, "a dict", shown_label(told))
    return float(label_numbers(told, "reprojection_loss", ((), (1,)), place).reshape(()))
