"""Training sets as HardMo's authors keep theirs: one sample a person, with the tips of the fingers.

A sample is `CLASS/VIDEO/000012_3.jpg`, frame and track, and beside it `.data.pyd`, a pickled list with one dict, which
loaders made for the tars of 4DHumans read as well. Pictures of several people are there several times.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from hardmo_jax.export.training_sets import sample_tars, training_labels, training_points
from hardmo_jax.export.training_sets.hmr2_tars import hmr2_person
from hardmo_jax.export.training_sets.sample_tars import PictureOf, Sample
from hardmo_jax.export.training_sets.training_labels import TrainingExport, TrainingExportError, TrainingLabelOptions
from hardmo_jax.export.training_sets.training_points import BodySlots, body_slots_of_label
from hardmo_jax.labels.schema import LabelRow

_NO_CATEGORY = "uncategorised"


def write_hardmo_tars(
    rows: Sequence[LabelRow],
    folder: str | os.PathLike[str],
    picture_of: PictureOf,
    *,
    options: TrainingLabelOptions | None = None,
    slots_of: BodySlots = body_slots_of_label,
    samples_per_tar: int = 1000,
) -> TrainingExport:
    """Write labels in the layout of HardMo, one sample a person.

    Args:
        rows: The newest version of each label, of one body.
        folder: Gets `000000.tar` and so on; without tars.
        picture_of: Bytes of the picture of a label, JPEG or PNG, upright; asked once for a picture.
        options: Which labels.
        slots_of: Points in space.
        samples_per_tar: People.

    Returns:
        Where they are, and counts.

    Raises:
        TrainingExportError: If no label is left, labels are of several bodies, two people would have one key, or a
            picture is not the one that was labelled.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.

    Notes:
        The published loader leaves `keypoints_3d` out; they are here for readers that demand them. It forgets a pose
        whose shape is unknown, as 4DHumans' does: see `write_hmr2_tars`.
    """
    labels = training_labels.select_training_labels(rows, options)
    _check_keys(labels.rows)

    def samples() -> Iterator[Sample]:
        in_order = sorted(labels.rows, key=lambda row: (_video_key(row), row.frame_index, row.track_id))
        for _, people in groupby(in_order, lambda row: (_video_key(row), row.frame_index)):
            picture = None
            for row in people:
                picture = picture or sample_tars.stored_picture(row, picture_of)
                records = sample_tars.plain_pickle([hardmo_person(row, slots_of)])
                yield hardmo_key(row), [picture, ("data.pyd", records)]

    paths = sample_tars.write_sample_tars(samples(), folder, samples_per_tar=samples_per_tar)
    return labels.exported(paths)


def hardmo_person(row: LabelRow, slots_of: BodySlots = body_slots_of_label) -> dict[str, Any]:
    """A person as a dict of a tar: as `hmr2_person`, and `hand_keypoints_2d`.

    Args:
        row: The label.
        slots_of: Points in space.

    Returns:
        `hand_keypoints_2d` (10, 3) are the tips of the fingers, thumb to little finger, the left hand first: pixels of
        the picture and confidence.
    """
    tips = training_points.seen_points(row, training_points.FINGERTIP_POINTS)
    return hmr2_person(row, slots_of) | {"hand_keypoints_2d": tips}


def hardmo_key(row: LabelRow) -> str:
    """Key of a person: class, video, frame and track.

    Raises:
        TrainingExportError: If no file can be named after it.
    """
    return f"{_video_key(row)}/{row.frame_index:06d}_{row.track_id}"


def _video_key(row: LabelRow) -> str:
    category = (row.category or _NO_CATEGORY).replace("\\", "_").replace("/", "_")
    return f"{training_labels.without_dots(category)}/{training_labels.source_key(row)}"


def _check_keys(rows: Sequence[LabelRow]) -> None:
    """Two files must not share a folder, nor two people a key.

    Raises:
        TrainingExportError: With the first of them.
    """
    sources: dict[str, LabelRow] = {}
    people: dict[str, LabelRow] = {}
    for row in rows:
        video = _video_key(row)
        other = sources.setdefault(video.casefold(), row)
        if (other.source_path, other.source_sha256) != (row.source_path, row.source_sha256):
            raise TrainingExportError(
                f"two labelled files would share the folder {video!r}: {other.source_path!r} "
                f"({other.source_sha256[:12]}) and {row.source_path!r} ({row.source_sha256[:12]}); export the labels "
                "of each by themselves, into folders of their own"
            )
        twin = people.setdefault(hardmo_key(row).casefold(), row)
        if twin is not row:
            raise TrainingExportError(
                f"two labels would have the key {hardmo_key(row)!r}: {twin.label_id} and {row.label_id}, both frame "
                f"{row.frame_index}, track {row.track_id} of {row.source_path!r}; give each person of a frame its own "
                "`track_id`"
            )
