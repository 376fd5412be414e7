"""What a run of the Normal Annotation stage did, in numbers."""

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.labels import schema
from hardmo_jax.pipelines.annotate_cameras import CameraUse, camera_uses
from hardmo_jax.pipelines.annotate_tracks import CameraUsed
from hardmo_jax.pipelines.box_quality import LeftOut, reason_counts
from hardmo_jax.pipelines.sightings import FILLED_SOURCE, Picture
from hardmo_jax.pipelines.stage_rates import StageRate
from hardmo_jax.skeleton import layouts

#: Body error, in box sides, from which a person is named at the end of a run.
_POOR_ERROR = 0.03


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """What the job did, for the table at its end."""

    num_pictures: int
    num_people: int
    """Who was seen, once a picture."""
    num_filled: int
    """People in frames in which they were not seen, with a body from the frames around (FILLED)."""
    num_unfilled: int
    """Those for whom that failed, or who were not seen for too long before and after."""
    num_tracks: int
    status_counts: dict[str, int]
    """How the fits of people who were seen ended."""
    worst: tuple[str, ...]
    """Who to look at first: the people whose body is farthest from its keypoints, and the failed fits."""
    median_error_by_part: dict[str, float | None]
    """Box sides; over the people with a usable fit; None without evidence."""
    cameras: tuple[CameraUse, ...]
    """Which cameras were taken, the most used first."""
    reason_counts: dict[str, int]
    """How many labels carry which reason to doubt that the person is seen well enough."""
    left_out: LeftOut
    """Who gets no label for such a reason."""
    num_unusable: int
    """Pictures that could not be read, or of which what was measured could not be used; `warnings` say why."""
    stages: tuple[StageRate, ...]
    """How fast each stage was while it was at work; several are at once."""
    seconds: float
    """From the first picture to the last overlay."""
    warnings: tuple[str, ...]
    camera_motion: tuple[CameraUsed, ...]
    """Of each shot of a video that was fitted over time, whether its camera was taken to be fixed."""
    advice: str | None
    """What to do if nobody was found; None if somebody was."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LabelNote:
    """What the summary takes from a label, so that labels need not be held."""

    source_path: str
    frame_index: int
    is_of_video: bool
    track_id: int
    status: str
    is_usable: bool
    is_seen: bool
    """Whether somebody was seen there."""
    errors: tuple[float | None, ...]
    """Of `layouts.PARTS`, box sides."""
    quality_reasons: tuple[str, ...]


def note_of(row: schema.LabelRow) -> LabelNote:
    """What the summary takes from a label."""
    return LabelNote(
        source_path=sys.intern(row.source_path),
        frame_index=row.frame_index,
        is_of_video=bool(row.fps),
        track_id=row.track_id,
        status=row.status,
        is_usable=row.is_usable,
        is_seen=row.keypoint_source != FILLED_SOURCE and row.status != FitStatus.FILLED.name,
        errors=tuple(row.error_by_part.get(part) for part in layouts.PARTS),
        quality_reasons=tuple(row.quality_reasons or ()),
    )


def summarise(
    pictures: Sequence[Picture],
    notes: Sequence[LabelNote],
    *,
    stages: tuple[StageRate, ...] = (),
    seconds: float = 0.0,
    warnings: Sequence[str] = (),
    camera_motion: Sequence[CameraUsed] = (),
    advice: str | None = None,
    left_out: LeftOut | None = None,
    num_unusable: int = 0,
) -> AnnotateSummary:
    """Counts and medians of a run.

    Args:
        pictures: All that was looked at, with cameras.
        notes: Of all labels.
        stages: Rates of the stages.
        seconds: That the run took.
        warnings: What may be wrong.
        camera_motion: How the camera of each shot was taken to stand.
        advice: What to do if nobody was found.
        left_out: Who was seen too badly.
        num_unusable: Pictures that could not be used.
    """
    medians: dict[str, float | None] = {}
    for place, part in enumerate(layouts.PARTS):
        errors = [error for note in notes if note.is_usable and (error := note.errors[place]) is not None]
        medians[part] = float(np.median(errors)) if errors else None
    counts: dict[str, int] = {}
    for note in notes:
        counts[note.status] = counts.get(note.status, 0) + note.is_seen
    num_seen, num_filled = (
        sum(note.is_seen for note in notes),
        sum(note.status == FitStatus.FILLED.name for note in notes),
    )
    return AnnotateSummary(
        num_pictures=len(pictures),
        num_people=num_seen,
        num_filled=num_filled,
        num_unfilled=len(notes) - num_seen - num_filled,
        num_tracks=len({(note.source_path, note.track_id) for note in notes}),
        status_counts={status: count for status, count in counts.items() if count},
        worst=_worst(notes),
        median_error_by_part=medians,
        cameras=camera_uses(list(pictures)),
        reason_counts=reason_counts(notes),
        left_out=left_out or LeftOut(),
        num_unusable=num_unusable,
        stages=stages,
        seconds=seconds,
        warnings=tuple(warnings),
        camera_motion=tuple(camera_motion),
        advice=None if notes else advice,
    )


def _worst(notes: Sequence[LabelNote], count: int = 3) -> tuple[str, ...]:
    """The people to look at first, each as a phrase."""
    body = layouts.PARTS.index("body")
    failed = [note for note in notes if not note.is_usable and note.is_seen]
    poor = [note for note in notes if note.is_usable and (note.errors[body] or 0) > _POOR_ERROR]
    poor.sort(key=lambda note: -(note.errors[body] or 0))
    phrases = []
    for note in [*failed, *poor][:count]:
        place = f"{note.source_path} frame {note.frame_index}" if note.is_of_video else note.source_path
        outcome = note.status if not note.is_usable else f"body {100 * (note.errors[body] or 0):.1f} %"
        phrases.append(f"{place}, person {note.track_id}: {outcome}")
    return tuple(phrases)
