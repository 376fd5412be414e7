"""Labels of one take, a shot of a video or some photos: who of it is kept, its camera, the fit, the scores."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitResult
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.store import PackedLabels
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.pipelines.annotate_cameras import with_cameras
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.annotate_summary import LabelNote, note_of
from hardmo_jax.pipelines.annotate_tracks import CameraUsed, camera_record, fit_tracks, frame_rate, ground_record
from hardmo_jax.pipelines.box_quality import LeftOut, without_badly_seen
from hardmo_jax.pipelines.fit_pieces import fit_in_pieces
from hardmo_jax.pipelines.label_rows import origin_columns
from hardmo_jax.pipelines.labels_of_fits import to_labels
from hardmo_jax.pipelines.perceiving import PEOPLE_OF_A_TAKE, Take, lasting_people
from hardmo_jax.pipelines.regress_people import flow_prior_of_sightings, start_of_sightings
from hardmo_jax.pipelines.score_labels import score_labels
from hardmo_jax.pipelines.sightings import (
    Picture,
    PictureOrigin,
    Sighting,
    as_read,
    to_observations,
    with_evidence,
    without_unweighted_parts,
)
from hardmo_jax.pipelines.stage_rates import StageClock
from hardmo_jax.recovery.ground import Ground
from hardmo_jax.recovery.lift_and_fit import Hypotheses, Recovered, lift_and_fit
from hardmo_jax.recovery.regressor_start import rows_of_start

Progress = Callable[[str, int, int | None], None]
#: Labels that are held as rows at a time.
_ROWS_AT_ONCE = 1024
#: The mean rate that a container tells is taken where the usual step from frame to frame is as near to its own: steps
#: are rounded to milliseconds in some, and a video of variable rate has a mean that no two frames have.
_SAME_RATE = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledTake:
    """What became of a take."""

    pictures: list[Picture]
    """With their cameras."""
    sightings: list[Sighting]
    """Who was fitted, by frame, then by track; with those that were filled in."""
    result: FitResult | None
    """In the same order; None if nobody was."""
    labels: list[PackedLabels]
    """In the same order."""
    notes: list[LabelNote]
    """Of the labels, in the same order."""
    unsure: list[Sighting]
    """Who was seen for a moment only, and is not labelled."""
    left_out: LeftOut
    """Who is seen too badly."""
    num_from_lifter: int
    """People whose fit starts from the lifter's guess though a network was asked."""
    camera: CameraUsed | None
    """How the camera stands, if frames were fitted together."""
    warnings: tuple[str, ...]
    """What may be wrong."""
    record: dict[str, Any]
    """What `run.json` says of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fitted:
    """Fits of the people of a take."""

    sightings: list[Sighting]
    result: FitResult | None = None
    hypotheses: Hypotheses | None = None
    ground: Ground | None = None
    camera: CameraUsed | None = None
    num_from_lifter: int = 0
    warnings: tuple[str, ...] = ()


def label_take(
    take: Take,
    *,
    media: PictureOrigin,
    body: BodyModel,
    options: AnnotateOptions,
    packed: pathlib.Path,
    density: Regressor | None = None,
    clock: StageClock,
    report: Progress,
) -> LabelledTake:
    """Label everybody of a take.

    Args:
        take: What perception found.
        media: It is of.
        body: That is fitted.
        options: Of the job.
        packed: Folder for labels until they are in the job's file.
        density: Network whose density of poses is a prior of fits of single pictures.
        clock: Told how long the stages `fit`, `label` and `score` take.
        report: Told the stage, what is done, and of how much.

    Raises:
        ObservationError: If frames cannot be fitted together by the options.
    """
    warnings: list[str] = []
    record: dict[str, Any] = {}
    sightings, unsure = take.sightings, []
    if media.kind == "video":
        sightings, unsure = lasting_people(sightings, len(take.pictures))
    sightings, left_out = without_badly_seen(sightings, options.quality.drop)
    with clock.at("camera"):
        pictures, sightings = with_cameras(
            take.pictures, sightings, body, options.camera, is_video=media.kind == "video", record=record,
            warnings=warnings,
        )  # fmt: skip
    rate = rate_of_labels(media, pictures, options.frames.stride)
    with clock.at("fit"):
        if not sightings:
            fitted = _Fitted(sightings=[])
        elif is_over_time(media, options):
            fitted = _fit_shot(body, pictures, sightings, take, rate or 25.0, options, report)
        else:
            fitted = _fit_alone(body, sightings, density, options, report)
    fitted, pictures = _of_kept(fitted, pictures, take)
    if take.kept is not None:
        warnings.append(
            f"a shot is longer than {options.fit.longest_take} frames (--config.fit.longest_take): it is fitted in "
            "takes that overlap, each with a shape and floor of its own"
        )
    warnings += fitted.warnings
    if fitted.camera is not None:
        record["camera_motion"] = camera_record(fitted.camera)
    if fitted.ground is not None:
        record["ground"] = ground_record(fitted.ground)
    elif fitted.camera is not None:
        record["ground"] = None
        record["no_ground_because"] = (
            "nobody was surely seen to stand, or feet that stand lie on no plane"
            if fitted.camera.is_fixed
            else "the camera moves"
        )
    labels: list[PackedLabels] = []
    notes: list[LabelNote] = []
    positions = [sighting.picture.position for sighting in fitted.sightings]
    for before, own, after in pieces_of_frames(positions, _ROWS_AT_ONCE):
        with clock.at("label"):
            rows = _rows(fitted, own, body, media, options, rate)
        if options.output.part_scores:
            with clock.at("label"):
                around = tuple(_rows(fitted, frame, body, media, options, rate) for frame in (before, after))
            with clock.at("score"):
                rows = score_labels(rows, body, around=(around[0], around[1]), progress=_from(report, len(notes)))
        with clock.at("label"):
            labels.append(PackedLabels(rows, packed / f"{pictures[0].position:09d}_{len(labels):06d}.arrows"))
            notes += map(note_of, rows)
    return LabelledTake(
        pictures=pictures,
        sightings=fitted.sightings,
        result=fitted.result,
        labels=labels,
        notes=notes,
        unsure=unsure,
        left_out=left_out,
        num_from_lifter=fitted.num_from_lifter,
        camera=fitted.camera,
        warnings=tuple(warnings),
        record=record,
    )


def _of_kept(fitted: _Fitted, pictures: list[Picture], take: Take) -> tuple[_Fitted, list[Picture]]:
    """People of the pictures that a take labels itself, and those pictures."""
    if take.kept is None:
        return fitted, pictures
    pictures = pictures[slice(*take.kept)]
    positions = {picture.position for picture in pictures}
    rows = [row for row, one in enumerate(fitted.sightings) if one.picture.position in positions]
    result, hypotheses = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], (fitted.result, fitted.hypotheses))
    kept = dataclasses.replace(
        fitted, sightings=[fitted.sightings[row] for row in rows], result=result, hypotheses=hypotheses
    )
    return kept, pictures


def pieces_of_frames(positions: Sequence[int], most_rows: int) -> list[tuple[slice, slice, slice]]:
    """Rows of pieces of whole frames, each with those of the frame before and after it.

    Args:
        positions: Frame of each row, in order.
        most_rows: Of a piece, unless one frame has more.

    Returns:
        Rows before, own rows and rows after.
    """
    ends = [at for at in range(1, len(positions)) if positions[at] != positions[at - 1]] + [len(positions)]
    starts = [0, *ends[:-1]]
    pieces, first = [], 0
    for frame, end in enumerate(ends):
        is_last = frame + 1 == len(ends)
        if not is_last and ends[frame + 1] - starts[first] <= most_rows:
            continue
        before = slice(starts[first - 1] if first else 0, starts[first])
        after = slice(end, end if is_last else ends[frame + 1])
        pieces.append((before, slice(starts[first], end), after))
        first = frame + 1
    return pieces if len(positions) else []


def _from(report: Progress, first: int) -> Progress:
    """Reports of a piece as those of the take."""
    return lambda stage, done, total: report(stage, first + done, total)


def _rows(
    fitted: _Fitted, rows: slice, body: BodyModel, media: PictureOrigin, options: AnnotateOptions, rate: float | None
) -> list[LabelRow]:
    """Labels of some of the people."""
    if fitted.result is None or not fitted.sightings[rows]:
        return []
    result, hypotheses = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], (fitted.result, fitted.hypotheses))
    return to_labels(
        fitted.sightings[rows], result, hypotheses, body, media, options.output,
        origin=origin_columns(options), ground=fitted.ground, frames_per_second=rate,
    )  # fmt: skip


def is_over_time(media: PictureOrigin, options: AnnotateOptions) -> bool:
    """Whether frames of a person are fitted together."""
    return media.kind == "video" and options.fit.temporal and options.start.kind == "lifter"


def rate_of_labels(media: PictureOrigin, pictures: list[Picture], stride: int) -> float | None:
    """Frames a second of what is looked at; None for photos, and for a lone frame of a video that tells none."""
    if media.kind != "video":
        return None
    mean = None if media.fps is None else media.fps / stride
    if len(pictures) < 2:
        return mean
    usual = frame_rate(pictures)
    return mean if mean is not None and abs(usual / mean - 1) < _SAME_RATE else usual


def _fit_shot(
    body: BodyModel,
    pictures: list[Picture],
    sightings: list[Sighting],
    take: Take,
    frames_per_second: float,
    options: AnnotateOptions,
    report: Progress,
) -> _Fitted:
    """All frames of each person together."""
    tracks = fit_tracks(
        body, pictures, sightings, frames_per_second=frames_per_second, start=options.start, options=options.fit,
        motion=options.motion, report=report, camera_path=take.camera_path,
    )  # fmt: skip
    return _Fitted(
        sightings=tracks.sightings,
        result=tracks.result,
        ground=tracks.ground,
        camera=tracks.camera,
        num_from_lifter=tracks.num_from_lifter,
        warnings=tracks.warnings,
    )


def _fit_alone(
    body: BodyModel,
    sightings: list[Sighting],
    density: Regressor | None,
    options: AnnotateOptions,
    report: Progress,
) -> _Fitted:
    """Everybody by themselves, some at a time so that progress can be told."""
    report("fit", 0, len(sightings))
    # Of all at once, so that a piece in which a network was asked about nobody is treated as the others.
    regressed = start_of_sightings(body, sightings, to_observations(sightings).camera)

    def fit_some(first: int, end: int) -> Recovered:
        some = sightings[first:end]
        own = None if regressed is None else rows_of_start(regressed, np.arange(first, end))
        observations = without_unweighted_parts(to_observations(some), options.fit.part_weights)
        prior = flow_prior_of_sightings(density, body, some, own, observations, options.fit)
        return lift_and_fit(body, observations, start=options.start, options=options.fit, regressed=own, prior=prior)

    recovered = fit_in_pieces(
        len(sightings),
        min(options.fit.max_batch, PEOPLE_OF_A_TAKE),
        fit_some,
        lambda done: report("fit", done, len(sightings)),
    )
    read = as_read(sightings, recovered.keypoint_order)
    read = with_evidence(
        read,
        frames_per_second=None,
        longest_gap_seconds=options.motion.longest_gap_seconds,
        part_weights=options.fit.part_weights,
    )
    return _Fitted(
        sightings=read,
        result=recovered.result,
        hypotheses=recovered.hypotheses,
        num_from_lifter=0 if recovered.is_from_lifter is None else int(recovered.is_from_lifter.sum()),
    )
