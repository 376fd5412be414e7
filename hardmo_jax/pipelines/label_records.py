"""Labels of this package as records for training: what was seen in the picture, and the fitted body in space."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import project_in_pieces
from hardmo_jax.data.hmr2_augmentation import LAYOUT, TrainingPerson
from hardmo_jax.data.training_records import (
    FINGERTIP_LAYOUT,
    FINGERTIPS,
    PixelReference,
    TrainingDataError,
    TrainingRecord,
)
from hardmo_jax.labels.belief import part_belief, parts_called_wrong
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import check_body_of_labels, observations_of_labels, params_of_labels
from hardmo_jax.skeleton import layouts, regressors

#: Boxes of labels are about trusted keypoints; crops are this much larger, as in 4DHumans.
BOX_GROWTH = 1.2
#: Keypoints below this are not there, and people with no more than this many are left out, as in 4DHumans.
_CONFIDENT, _LEAST_POINTS = 0.3, 5
_TIP_PARTS = tuple(layouts.part_of(point) for point in FINGERTIPS)
_PLACES = frozenset(regressors.place_of(point) for point in layouts.get_layout(LAYOUT).points)
#: Betas beyond this are of a fit that went wrong.
_LARGEST_BETA = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRecordOptions:
    """Which labels are trained on, and how far they are believed."""

    takes_filled: bool = False
    """Whether people who were lost for a moment, and filled in from the frames around, are trained on; those that a
    person corrected are."""
    takes_doubtful: bool = True
    """Whether people who are seen badly (`quality_reasons`) are."""
    doubtful_weight: float = 0.5
    """Weight of all terms of these, beside 1 of the others."""
    believes_scores: bool = True
    """Whether the pose of feet and hands counts by how probably they are right."""


class LabelRecords:
    """Labels of people with their pixels; a `TrainingSource`."""

    def __init__(
        self,
        rows: Sequence[LabelRow],
        body: BodyModel,
        pixels_of: Callable[[LabelRow], PixelReference],
        *,
        name: str,
        options: LabelRecordOptions | None = None,
    ) -> None:
        """Take in labels; points in space are computed here, once.

        Args:
            rows: Of one body and one layout of keypoints.
            body: That they are of.
            pixels_of: Where the picture of a label is.
            name: Of the source.
            options: Which are taken.

        Raises:
            LabelBodyError: If labels are of another body.
            TrainingDataError: If none can be trained on; the message says why not.
        """
        options = options or LabelRecordOptions()
        self.name = name
        check_body_of_labels(rows, body, source=name)
        kept, why = [], {}
        for row in rows:
            reason = why_left_out(row, options)
            if reason is None:
                kept.append(row)
            else:
                why[reason] = why.get(reason, 0) + 1
        self.left_out = why
        if not kept:
            told = ", ".join(f"{count} {reason}" for reason, count in why.items()) or "there are none"
            raise TrainingDataError(f"{name}: no label can be trained on ({told})")
        self._rows, self._pixels_of = kept, pixels_of
        self._believes_scores, self._doubtful_weight = options.believes_scores, options.doubtful_weight
        seen, params = observations_of_labels(kept), params_of_labels(kept, body)
        model, is_supported = landmarks.point_model(body, layouts.get_layout(LAYOUT))
        points, _ = project_in_pieces(model, seen.camera, params)
        self._points, self._has_point = np.asarray(points, np.float32), is_supported
        model, self._has_tip = landmarks.point_model(body, FINGERTIP_LAYOUT)
        self._tips = np.asarray(project_in_pieces(model, seen.camera, params)[0], np.float32)
        measured = layouts.get_layout(kept[0].keypoint_layout).points
        self._measured = _places_of(layouts.get_layout(LAYOUT).points, measured)
        self._measured_tips = _places_of(FINGERTIPS, measured)
        self._part = [layouts.part_of(point) for point in layouts.get_layout(LAYOUT).points]

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, index: int) -> TrainingRecord:
        """One person."""
        row = self._rows[index]
        pose = np.zeros((23, 3), np.float64)
        pose[:21] = row.body_pose
        if row.smpl_hand_pose is not None:
            pose[21:] = row.smpl_hand_pose
        keypoints, confidence = _picked(row, self._measured)
        tips, tip_confidence = _picked(row, self._measured_tips)
        # What a person called wrong was perhaps seen wrongly, too.
        wrong = parts_called_wrong(row)
        confidence = np.where([part in wrong for part in self._part], 0.0, confidence)
        tip_confidence = np.where([part in wrong for part in _TIP_PARTS], 0.0, tip_confidence)
        believed = np.array([self._belief(row, part) for part in self._part])
        has_betas = bool(np.abs(row.betas).max() <= _LARGEST_BETA)
        corners = np.asarray(row.bbox, np.float64)
        return TrainingRecord(
            name=f"{self.name}:{row.source_path}#{row.frame_index}/{row.track_id}",
            pixels=self._pixels_of(row),
            center=0.5 * (corners[:2] + corners[2:]),
            size=float(BOX_GROWTH * (corners[2:] - corners[:2]).max()),
            extent=BOX_GROWTH * (corners[2:] - corners[:2]),
            person=TrainingPerson(
                keypoints_2d=keypoints,
                confidence=confidence,
                keypoints_3d=self._points[index].astype(np.float64),
                confidence_3d=np.where(self._has_point, believed, 0.0),
                global_orient=np.asarray(row.global_orient, np.float64),
                body_pose=pose,
            ),
            betas=np.asarray(row.betas, np.float64) if has_betas else np.zeros(10),
            # Rotations are known or not, all of a person at once.
            has_pose=not wrong,
            has_betas=has_betas,
            fingertips_2d=tips,
            fingertips_confidence=tip_confidence,
            fingertips_3d=self._tips[index].astype(np.float64),
            fingertips_confidence_3d=np.where(
                self._has_tip & (row.left_hand_pose is not None or row.smpl_hand_pose is not None),
                [self._belief(row, part) for part in _TIP_PARTS],
                0.0,
            ),
            focal_length=float(np.mean(row.focal_length)),
            weight=self._doubtful_weight if row.quality_reasons else 1.0,
        )

    def references(self) -> list[PixelReference]:
        """Where the pictures of all people are."""
        return [self._pixels_of(row) for row in self._rows]

    def _belief(self, row: LabelRow, part: str | None) -> float:
        return part_belief(row, part, believes_scores=self._believes_scores)


def why_left_out(row: LabelRow, options: LabelRecordOptions) -> str | None:
    """Why a label is not trained on; None if it is."""
    if not row.is_usable:
        return "without a fit"
    if row.review == "rejected":
        return "rejected by a person"
    # What a person made of a filled label is not from other frames.
    if row.status == "FILLED" and row.origin != "human" and not options.takes_filled:
        return "filled in from other frames"
    if row.quality_reasons and not options.takes_doubtful:
        return "badly seen"
    # Of the points that are compared: a hand that is seen well has twenty, and says nothing of the body.
    is_compared = np.array(
        [regressors.place_of(point) in _PLACES for point in layouts.get_layout(row.keypoint_layout).points]
    )
    if int(((np.asarray(row.keypoint_confidence) >= _CONFIDENT) & is_compared).sum()) < _LEAST_POINTS:
        return f"with fewer than {_LEAST_POINTS} keypoints"
    return None


def _places_of(wanted: Sequence[str], measured: Sequence[str]) -> list[int]:
    """Place of each wanted point among the measured ones; -1 for none. Of two annotations of a place the same one."""
    by_place = {regressors.place_of(point): at for at, point in reversed(list(enumerate(measured)))}
    return [by_place.get(regressors.place_of(point), -1) for point in wanted]


def _picked(row: LabelRow, places: Sequence[int]) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    at = np.array(places)
    points = np.asarray(row.keypoints_2d, np.float64)[at]
    confidence = np.asarray(row.keypoint_confidence, np.float64)[at]
    is_there = (at >= 0) & (confidence >= _CONFIDENT) & np.isfinite(points).all(-1)
    return np.where(is_there[:, None], points, 0.0), np.where(is_there, confidence, 0.0)


def photos_of_labels(folder: pathlib.Path) -> Callable[[LabelRow], PixelReference]:
    """Pictures of labels below the folder that was labelled."""

    def pixels_of(row: LabelRow) -> PixelReference:
        is_video = row.time_seconds is not None
        return PixelReference(
            path=str(_within(folder, row.source_path)),
            frame_index=row.frame_index if is_video else None,
            sha256=row.source_sha256,
        )

    return pixels_of


def _within(folder: pathlib.Path, path: str) -> pathlib.Path:
    """A path that a label names, below the folder; labels may be anybody's.

    Raises:
        TrainingDataError: If it leads out of the folder.
    """
    found = (folder / path).resolve()
    if folder.is_file() and found.name == path:
        return folder.resolve()
    if not found.is_relative_to(folder.resolve()):
        raise TrainingDataError(f"a label names {path!r}, which is not in {folder}")
    return found
