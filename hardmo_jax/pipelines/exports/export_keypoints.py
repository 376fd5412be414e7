"""Measured keypoints of stored labels as files that other programs read: OpenPose's, COCO-WholeBody's and COCO's.

Bodies are not exported: what was seen is, of the newest version of each label.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal, get_args

from hardmo_jax.export.source_names import ExportError, is_frame_of_video, published_picture
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import keypoint_files
from hardmo_jax.perception.keypoint_files import FilePerson, FilePicture

KeypointFormat = Literal["openpose", "coco_wholebody", "coco_named"]
#: Digits of the name of a label that a number below 2 ** 52 holds.
_ID_DIGITS = 13
KEYPOINT_FORMATS: tuple[KeypointFormat, ...] = get_args(KeypointFormat)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeypointCounts:
    """What was written."""

    num_pictures: int
    num_people: int
    num_left_out: int
    """Labels of people of whom no keypoint was measured, as in filled frames."""


def write_keypoints(path: pathlib.Path, rows: Sequence[LabelRow], format_name: KeypointFormat) -> KeypointCounts:
    """Write the keypoints of labels for another program.

    Pictures keep their paths relative to what was labelled. Frames of a video are called as OpenPose calls them:
    `clip_000000000012_keypoints.json`, and `clip_000000000012.jpg` in COCO's file.

    Args:
        path: Folder of OpenPose's files, or COCO's file; must not exist.
        rows: Newest version of each label.
        format_name: What is written.

    Raises:
        ExportError: If two pictures would have one name.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If no file can be named after a picture.
    """
    people = _people_by_picture(rows)
    if format_name == "openpose":
        path.mkdir()
        for picture, own in people.items():
            keypoint_files.write_openpose(path, _without_suffix(picture), own)
    else:
        everybody = [person for own in people.values() for person in own]
        write = {
            "coco_wholebody": keypoint_files.write_coco_wholebody,
            "coco_named": keypoint_files.write_coco_named,
        }[format_name]
        write(path, tuple(people), everybody)
    num_people = int(sum(person.confidence.any() for own in people.values() for person in own))
    return KeypointCounts(num_pictures=len(people), num_people=num_people, num_left_out=len(rows) - num_people)


def _people_by_picture(rows: Sequence[LabelRow]) -> dict[FilePicture, list[FilePerson]]:
    """Everybody with a label, also those of whom nothing was seen, so that their pictures are not lost."""
    people: dict[FilePicture, list[FilePerson]] = {}
    sources: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        picture = exported_picture(row)
        source = row.source_path, row.source_sha256, row.frame_index
        # OpenPose's names have no suffix, and some disks no upper and lower case.
        key = _without_suffix(picture).casefold()
        other = sources.setdefault(key, source)
        if other != source:
            raise ExportError(
                f"two labelled pictures would be called {picture.name!r}: {other[0]!r} and {source[0]!r}; export the "
                "labels of each run by themselves"
            )
        people.setdefault(picture, []).append(
            FilePerson(
                picture=picture,
                keypoints_2d=row.keypoints_2d,
                confidence=row.keypoint_confidence,
                bbox=row.bbox,
                score=row.person_score,
                track_id=row.track_id,
                annotation_id=number_of_label(row.label_id),
                label_id=row.label_id,
                label_version=row.label_version,
                file_layout=row.keypoint_layout,
            )
        )
    return people


def number_of_label(label_id: str) -> int:
    """Number of the annotation of a label, the same in every export; JSON's readers hold it exactly."""
    return 1 + int(label_id[:_ID_DIGITS], 16)


def exported_picture(row: LabelRow) -> FilePicture:
    """The picture of a label, under the name that its file gets.

    Raises:
        ExportError: If no file can be named after it.
    """
    return FilePicture(
        name=str(published_picture(row)),
        frame_index=row.frame_index if is_frame_of_video(row) else None,
        width=row.image_width,
        height=row.image_height,
    )


def _without_suffix(picture: FilePicture) -> str:
    return str(pathlib.PurePosixPath(str(picture.name)).with_suffix(""))
