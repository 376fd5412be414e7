"""Labels corrected by keypoints that somebody moved in a program for annotators: each part solved anew, and saved.

Whoever moves points there sees no body. The points are a person's word; the pose that is solved of them is saved where
it meets them, and nobody has accepted it.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.correct import CorrectionError, placeable_points
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.annotate_options import load_body_option
from hardmo_jax.pipelines.body_of_labels import body_option_of_labels
from hardmo_jax.pipelines.correct_keypoints import MovedPoints, moved_points
from hardmo_jax.pipelines.correct_labels import CorrectedLabel, correct_label
from hardmo_jax.pipelines.label_editor import LabelEditor, SaveReport
from hardmo_jax.pipelines.label_edits import LabelEdit
from hardmo_jax.pipelines.label_rows import measured_again, split_by_body
from hardmo_jax.pipelines.score_labels import with_part, without_scores
from hardmo_jax.pipelines.shared_store import labels_file
from hardmo_jax.recovery.part_evidence import SEEN, part_evidence
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]
#: A point that the solved body misses by more than this is no point of this person: both pixels and share of the box.
MOST_MISSED_PIXELS, MOST_MISSED_OF_BOX = 20.0, 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorrectedPart:
    """One part of one label, corrected."""

    source_path: str
    frame_index: int
    track_id: int
    part: str
    """A foot, hand or `body`."""
    num_moved: int
    """Points of it that were placed."""
    num_removed: int
    """Points of it that were taken away."""
    num_out_of_reach: int
    """Points of it that the body cannot meet, and that were left as they were."""
    error_before: float | None
    """Mean distance of the placed points from those of the body, pixels, of those out of reach where all are; None
    where it had none."""
    error_after: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeypointCorrections:
    """What became of a file of keypoints."""

    parts: tuple[CorrectedPart, ...]
    num_annotations: int
    num_matched: int
    num_saved: int
    """Labels that have a new version."""
    tolerance: float
    """Pixels up to which a point was not moved."""
    notes: tuple[str, ...]
    """What could not be used, and what was written by others meanwhile."""


def correct_by_keypoints(
    labels: str | os.PathLike[str],
    keypoints: str | os.PathLike[str],
    *,
    body: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> KeypointCorrections:
    """Take what somebody moved in exported keypoints into the labels, as versions of a person.

    Args:
        labels: Folder with a `labels.parquet`, or such a file; new versions are written to it.
        keypoints: COCO keypoints, exported from these labels and changed.
        body: File of the body of the labels; None takes what `run.json` says, else the open body.
        dry_run: Write nothing.
        progress: Told labels that are solved, and of how many.

    Raises:
        FileNotFoundError: If a file is missing.
        hardmo_jax.labels.schema.LabelError: If the labels are damaged or of a newer version.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If the file holds no COCO keypoints.
        hardmo_jax.pipelines.correct_keypoints.KeypointCorrectionError: If it is of other pictures.
        hardmo_jax.pipelines.label_editor.UnsavedEditsError: If labels could not be written.
    """
    report = progress or (lambda stage, done, total: None)
    path = labels_file(labels)
    rows = store.read_labels(path).rows
    found = moved_points(keypoints, rows)
    newest = {row.label_id: row for row in store.latest_labels(rows)}
    model = load_body_option(body_option_of_labels(rows, provenance.read_run(path), body)) if found.labels else None
    parts, notes = [], list(found.notes)
    reports: list[SaveReport] = []
    with contextlib.ExitStack() as stack:
        # Each is saved when it is solved: who stops the job in between keeps what is done.
        editor = None if dry_run else stack.enter_context(LabelEditor(path, report=reports.append))
        for number, moved in enumerate(found.labels):
            report("correct", number, len(found.labels))
            row = newest[moved.label_id]
            if model is None or not split_by_body([row], model)[0]:
                notes.append(f"{_told(row)}: is of the body {row.body_model}, which is not the one that was loaded")
                continue
            try:
                made, own, told = corrected_by_points(row, moved, model)
            except CorrectionError as error:
                notes.append(f"{_told(row)}: {error}")
                continue
            notes += [f"{_told(row)}: {note}" for note in told]
            parts += own
            if made is row or editor is None:
                continue
            version = {"label_id": row.label_id, "label_version": row.label_version}
            # Who takes points away has made no pose.
            has_new_pose = any(one.num_moved for one in own)
            editor.put(LabelEdit(**version, corrected=made, has_new_pose=has_new_pose, seen=row))
        report("correct", len(found.labels), len(found.labels))
    outcomes = [outcome for one in reports for outcome in one.outcomes]
    notes += [f"{_told(newest[one.edit.label_id])}: {one.note}" for one in outcomes if one.note]
    return KeypointCorrections(
        parts=tuple(parts),
        num_annotations=found.num_annotations,
        num_matched=found.num_matched,
        num_saved=sum(outcome.is_applied for outcome in outcomes),
        tolerance=found.tolerance,
        notes=tuple(notes),
    )


def corrected_by_points(
    row: LabelRow, moved: MovedPoints, body: BodyModel
) -> tuple[LabelRow, list[CorrectedPart], list[str]]:
    """A label with points placed and taken away, what became of its parts, and what could not be placed.

    Points that the solved body misses by more than `MOST_MISSED_PIXELS` and `MOST_MISSED_OF_BOX` are left as they were:
    the worst one first, as it may have pulled the others along.

    Args:
        row: Newest version of the label.
        moved: What was changed of it.
        body: Of the label.

    Returns:
        The label as a person left it; the same object if nothing could be done.

    Raises:
        CorrectionError: If the label has no pose.
    """
    if not row.is_usable:
        raise CorrectionError(f"has no pose to correct: its fit ended as {row.status}")
    layout = layouts.get_layout(row.keypoint_layout)
    placeable = placeable_points(body, row.keypoint_layout)
    placed = {name: moved.keypoints_2d[layout.index(name)] for name in moved.placed if name in placeable}
    strange = [name for name in moved.placed if name not in placeable]
    notes = [f"{', '.join(strange)}: not a point of an arm or leg of {body.name}, left as it was"] if strange else []
    before = _pixel_errors(row, placed)
    start = _without_points(row, moved.removed, body) if moved.removed else row
    solved, missed = _solved_within_reach(start, placed, body)
    made, errors = (start, {}) if solved is None else (solved.row, solved.correction.pixel_errors)
    notes += [
        f"{name}: {pixels:.0f} px from where the body can have it, left as it was" for name, pixels in missed.items()
    ]
    parts = []
    for part in layouts.PARTS:
        own = [name for name in placed if (layouts.part_of(name) or "body") == part]
        gone = [name for name in moved.removed if (layouts.part_of(name) or "body") == part]
        met = [name for name in own if name not in missed]
        if own or gone:
            parts.append(
                CorrectedPart(
                    source_path=row.source_path,
                    frame_index=row.frame_index,
                    track_id=row.track_id,
                    part=part,
                    num_moved=len(met),
                    num_removed=len(gone),
                    num_out_of_reach=len(own) - len(met),
                    error_before=_mean([before[name] for name in met or own if name in before]),
                    error_after=_mean([errors[name] for name in met] if met else [missed[name] for name in own]),
                )
            )
    return made, parts, notes


def _solved_within_reach(
    row: LabelRow, points: Mapping[str, Float[np.ndarray, "2"]], body: BodyModel
) -> tuple[CorrectedLabel | None, dict[str, float]]:
    """A label with those points placed that the body can meet; and by how many pixels it missed the others."""
    limit = max(MOST_MISSED_PIXELS, MOST_MISSED_OF_BOX * float((row.bbox[2:] - row.bbox[:2]).max()))
    kept, missed = dict(points), {}
    while kept:
        solved = correct_label(row, body, points=kept)
        worst = max(kept, key=lambda name: solved.correction.pixel_errors[name])
        # Not a number is beyond it, too.
        if solved.correction.pixel_errors[worst] <= limit:
            return solved, missed
        missed[worst] = solved.correction.pixel_errors[worst]
        del kept[worst]
    return None, missed


def _without_points(row: LabelRow, names: tuple[str, ...], body: BodyModel) -> LabelRow:
    """A label of which some points are not seen, says a person; its pose stays, and is whose it was."""
    layout = layouts.get_layout(row.keypoint_layout)
    at = np.array(layout.indices(names))
    keypoints, confidence = row.keypoints_2d.copy(), row.keypoint_confidence.copy()
    keypoints[at], confidence[at] = 0, 0
    in_space = row.placed_points_3d
    made = dataclasses.replace(
        row,
        keypoints_2d=keypoints,
        keypoint_confidence=confidence,
        placed_points=tuple(name for name in row.placed_points or () if name not in names),
        placed_points_3d=None if in_space is None else tuple(name for name in in_space if name not in names),
    )
    evidence = part_evidence(layout, confidence[None], frames_per_second=None, longest_gap_seconds=0.0)
    for part in dict.fromkeys(layouts.part_of(name) for name in names):
        if part is None or part == "body":
            continue
        values: dict[str, Any] = {"outcome_by_part": None, "evidence_by_part": evidence.status[part][0]}
        if evidence.status[part][0] == SEEN:
            values["spread_by_part"] = float(evidence.spread[part][0])
        made = with_part(without_scores(made, part), part, values)
    return measured_again([made], body)[0]


def _pixel_errors(row: LabelRow, points: Mapping[str, Float[np.ndarray, "2"]]) -> dict[str, float]:
    """Distances of some points from where the fitted body has them, pixels."""
    if row.keypoints_3d is None:
        return {}
    layout = layouts.get_layout(row.keypoint_layout)
    found = {}
    for name, place in points.items():
        point = np.asarray(row.keypoints_3d[layout.index(name)], np.float64)
        if np.isfinite(point).all() and point[2] > 0:
            pixel = point[:2] / point[2] * row.focal_length + row.principal_point
            found[name] = float(np.linalg.norm(pixel - place))
    return found


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _told(row: LabelRow) -> str:
    return f"{row.source_path}, frame {row.frame_index}, person {row.track_id}"
