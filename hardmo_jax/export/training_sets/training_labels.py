"""Labels as training sets of others take them: which ones, under which names, and what of their bodies is SMPL's.

The formats of SPIN, CLIFF, 4DHumans and HardMo have no room for how far a label is to be believed as a whole, so what
is doubtful is left out, and counted.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.export.source_names import ExportError, published_picture, published_source
from hardmo_jax.labels.belief import parts_called_wrong
from hardmo_jax.labels.schema import NUM_BETAS, NUM_BODY_JOINTS, LabelRow
from hardmo_jax.skeleton import layouts

#: Boxes of labels are about trusted keypoints; those of published training sets are this much larger.
TRAINING_BOX_GROWTH = 1.2
#: What a `scale` of 1 stands for in the `.npz` of SPIN and the tars of 4DHumans.
PIXELS_PER_SCALE = 200.0
_POSE_JOINTS = len(layouts.SMPL_JOINTS)
_OPEN_BODY, _SMPL = "open_body", "_smpl"
#: What no file system or shell takes in a name; dots end the key of a sample.
_NOT_IN_KEYS = re.compile(r'[\x00-\x1f\x7f<>:"|?*.]')
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


class TrainingExportError(ExportError):
    """Labels or pictures that no training set can be made of; the message says which, and what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLabelOptions:
    """Which labels others are to learn from; failed fits are never among them."""

    takes_filled: bool = False
    """Whether people who were lost for a moment, and filled in from the frames around, are; those that a person
    corrected are."""
    takes_doubtful: bool = False
    """Whether people who are seen badly (`quality_reasons`) are."""
    takes_rejected: bool = False
    """Whether labels that a person rejected are."""
    takes_called_wrong: bool = True
    """Whether people of whom somebody called a foot or hand wrong are: without their pose, and without that part."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingExport:
    """What was written."""

    paths: tuple[pathlib.Path, ...]
    """Files, in order."""
    num_pictures: int
    num_people: int
    num_without_betas: int
    """People whose shape is not one of SMPL's neutral body, and is said to be unknown."""
    left_out: Mapping[str, int]
    """Numbers of labels that were not written, by reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLabels:
    """Labels of one body, sorted by picture and then by person."""

    rows: tuple[LabelRow, ...]
    left_out: Mapping[str, int]
    """Numbers of the others, by reason."""

    def exported(self, paths: Sequence[pathlib.Path]) -> TrainingExport:
        """The summary of these labels in some files."""
        return TrainingExport(
            paths=tuple(paths),
            num_pictures=len({picture_name(row) for row in self.rows}),
            num_people=len(self.rows),
            num_without_betas=sum(not has_smpl_betas(row) for row in self.rows),
            left_out=self.left_out,
        )


def select_training_labels(rows: Sequence[LabelRow], options: TrainingLabelOptions | None = None) -> TrainingLabels:
    """Labels to learn from.

    Args:
        rows: The newest version of each label, of one body.
        options: Which.

    Raises:
        TrainingExportError: If none is left, a label is there twice, labels are of several bodies, or two pictures
            would have one name.
        hardmo_jax.labels.schema.LabelError: If one that would be exported says something impossible, such as NaN.
    """
    options = options or TrainingLabelOptions()
    kept, left_out = [], {}
    for row in rows:
        reason = _why_not_exported(row, options)
        if reason is None:
            row.validate()
            kept.append(row)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not kept:
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there are none"
        raise TrainingExportError(
            f"no label can be exported ({told}); label other pictures, or take more of them: TrainingLabelOptions"
        )
    _check_one_version(kept)
    _check_one_body(kept)
    check_names(kept, picture_name)
    kept.sort(key=lambda row: (picture_name(row), row.track_id, row.label_id))
    return TrainingLabels(rows=tuple(kept), left_out=left_out)


def _why_not_exported(row: LabelRow, options: TrainingLabelOptions) -> str | None:
    if not row.is_usable:
        return "without a fit"
    if row.review == "rejected" and not options.takes_rejected:
        return "rejected by a person"
    # What a person made of a filled label is not from other frames.
    if row.status == "FILLED" and row.origin != "human" and not options.takes_filled:
        return "filled in from other frames"
    if row.quality_reasons and not options.takes_doubtful:
        return "badly seen"
    if not options.takes_called_wrong and parts_called_wrong(row):
        return "with a part that a person called wrong"
    if not (row.bbox[2:] > row.bbox[:2]).all():
        return "with an empty box"
    return None


def _check_one_version(rows: Sequence[LabelRow]) -> None:
    seen: dict[str, LabelRow] = {}
    for row in rows:
        other = seen.setdefault(row.label_id, row)
        if other is not row:
            raise TrainingExportError(
                f"label {row.label_id} ({row.source_path}, frame {row.frame_index}, track {row.track_id}) is there "
                f"twice, in versions {other.label_version} and {row.label_version}; give the newest version of each "
                "label, as `labels.store.latest_labels` does"
            )


def _check_one_body(rows: Sequence[LabelRow]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        body = row.body_model, row.body_model_sha256
        counts[body] = counts.get(body, 0) + 1
    if len(counts) > 1:
        told = ", ".join(f"{count} of {name} ({digest[:12]})" for (name, digest), count in sorted(counts.items()))
        raise TrainingExportError(
            f"labels must be of one body, and there are {told}; export each by itself, with --body, the file of one of "
            "them"
        )


def check_names(rows: Sequence[LabelRow], name_of: Callable[[LabelRow], str]) -> None:
    """Refuse labels of which two pictures would be called the same.

    Args:
        rows: Labels.
        name_of: What the picture of a label is called.

    Raises:
        TrainingExportError: With two such pictures.
    """
    pictures: dict[str, LabelRow] = {}
    for row in rows:
        name = name_of(row)
        other = pictures.setdefault(name.casefold(), row)  # some disks have no upper and lower case
        if _picture_of_label(other) != _picture_of_label(row):
            raise TrainingExportError(
                f"two labelled pictures would be called {name!r}: {_told_picture(other)} and {_told_picture(row)}; "
                "export the labels of each by themselves, into folders of their own"
            )


def _picture_of_label(row: LabelRow) -> tuple[str, str, int]:
    return row.source_path, row.source_sha256, row.frame_index


def _told_picture(row: LabelRow) -> str:
    return f"{row.source_path!r}, frame {row.frame_index} ({row.source_sha256[:12]})"


def picture_name(row: LabelRow) -> str:
    """Relative path that the JPEG of a label's picture gets: that of a photo, or `clip_000000000012.jpg` for a frame.

    Raises:
        ExportError: If no file can be named after it.
    """
    return _NOT_IN_NAMES.sub("_", str(published_picture(row).with_suffix(".jpg")))


def sample_key(row: LabelRow) -> str:
    """Key of the picture of a label in a tar: its name without suffix and dots, where WebDataset would cut it.

    Raises:
        ExportError: If no file can be named after it.
    """
    return without_dots(str(pathlib.PurePosixPath(picture_name(row)).with_suffix("")))


def source_key(row: LabelRow) -> str:
    """The same of the photo or the whole video.

    Raises:
        ExportError: If no file can be named after it.
    """
    return without_dots(str(published_source(row.source_path).with_suffix("")))


def without_dots(text: str) -> str:
    """A path as the key of a sample may be."""
    # WebDataset takes what begins with two underscores for notes of its own, and leaves it out without a word.
    return _NOT_IN_KEYS.sub("_", text).lstrip("_/") or "picture"


# Bodies ---------------------------------------------------------------------------------------------------


def has_smpl_betas(row: LabelRow) -> bool:
    """Whether the shape is one of SMPL's neutral body, which all of these formats mean by theirs.

    Those of the open body, of SMPL-H and SMPL-X, of women's and men's SMPL, and of a file that does not say, are
    coefficients of other shapes.
    """
    return row.body_model.endswith(_SMPL) and not row.body_model.startswith(_OPEN_BODY) and row.gender == "neutral"


def betas_of_smpl(row: LabelRow) -> Float[np.ndarray, "10"]:
    """Shape for SMPL's neutral body: zeros where the label's is another body's."""
    return np.array(row.betas if has_smpl_betas(row) else np.zeros(NUM_BETAS), np.float32)


def own_betas_name(row: LabelRow) -> str:
    """Under which the shape of a label stands whatever its body: `betas_open_body_smplh`."""
    return "betas_" + re.sub(r"\W", "_", row.body_model)


def smpl_pose(row: LabelRow) -> Float[np.ndarray, "72"]:
    """Rotations of SMPL's 24 joints, axis-angle, the root first in the axes of the camera.

    The 22 joints that all families share mean the same on SMPL. Its two hand joints are at rest where the label is of
    a body with fingers, which have no counterpart there.
    """
    pose = np.zeros((_POSE_JOINTS, 3), np.float32)
    pose[0] = row.global_orient
    pose[1 : 1 + NUM_BODY_JOINTS] = row.body_pose
    if row.smpl_hand_pose is not None:
        pose[1 + NUM_BODY_JOINTS :] = row.smpl_hand_pose
    return pose.reshape(-1)


# Boxes ----------------------------------------------------------------------------------------------------


def training_box(row: LabelRow) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Middle, and width and height, of a person's box grown by `TRAINING_BOX_GROWTH`, pixels."""
    corners = np.asarray(row.bbox, np.float64)
    return 0.5 * (corners[:2] + corners[2:]), TRAINING_BOX_GROWTH * (corners[2:] - corners[:2])
