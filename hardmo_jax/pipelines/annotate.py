"""The Normal Annotation stage: photos, video or keypoint files to SMPL labels, a table of them and pictures.

Pixels → perception → observations → fit → labels → overlays. Pictures are decoded twice (once to look at people,
once to draw on them) instead of held, so memory does not grow with the length of a video.
"""

import dataclasses
import math
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import hardmo_jax
from hardmo_jax.body import load
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.fit_motion import MotionOptions, check_track_options
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.labels import provenance, schema, store
from hardmo_jax.perception import load_source, model_files, video
from hardmo_jax.perception.camera_motion import CameraPath
from hardmo_jax.perception.keypoints_from_files import FilePeople, layout_choice
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.perception.quality import QualityOptions
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.perception.video import FrameChoice
from hardmo_jax.pipelines.annotate_cameras import CameraOptions, CameraUse, camera_uses, with_cameras
from hardmo_jax.pipelines.annotate_drawing import OutputOptions, draw_overlays
from hardmo_jax.pipelines.annotate_tracks import (
    CameraUsed,
    VideoFitOptions,
    camera_record,
    fit_tracks,
    frame_rate,
    ground_record,
)
from hardmo_jax.pipelines.box_quality import LeftOut, reason_counts, without_badly_seen
from hardmo_jax.pipelines.label_rows import origin_columns
from hardmo_jax.pipelines.labels_of_fits import to_labels
from hardmo_jax.pipelines.output_folders import OutputFolderError, check_output_folder, replace_outputs
from hardmo_jax.pipelines.perceiving import lasting_people, perceive
from hardmo_jax.pipelines.score_labels import score_labels
from hardmo_jax.pipelines.sightings import (
    FILLED_SOURCE,
    Picture,
    Sighting,
    as_read,
    relative_source,
    to_observations,
    with_evidence,
    without_unweighted_parts,
)
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, Recovered, check_stages, lift_and_fit
from hardmo_jax.recovery.recover_motion import weights_of_frames
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.rendering import raster
from hardmo_jax.skeleton import layouts

#: People fitted between two reports of progress.
_PEOPLE_A_REPORT = 256
#: Called as work goes on: stage, units done, units in all (None if unknown).
Progress = Callable[[str, int, int | None], None]

#: Body error, in box sides, from which a person is named at the end of a run.
_POOR_ERROR = 0.03
_OWN_OUTPUTS = ("labels.parquet", "overlay.mp4", "overlay", "run.json")
_UNFINISHED = ".annotate-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyOptions:
    """Which body is fitted."""

    model: str = "open_body"
    """`open_body`, or the path of a SMPL, SMPL-H or SMPL-X file, or a folder of one."""
    view: Literal["smpl", "smplh"] = "smplh"
    """Joints of the open body: `smplh` with fingers, `smpl` with 24 joints."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """Options of the whole job; one section of the config each."""

    seed: int = 0
    """Kept with the labels; the default stages draw no random numbers."""
    body: BodyOptions = BodyOptions()
    """Which body is fitted."""
    camera: CameraOptions = CameraOptions()
    """Where the focal length comes from."""
    perception: PerceptionOptions = PerceptionOptions()
    """Detection and keypoints."""
    quality: QualityOptions = QualityOptions()
    """How well people must be seen."""
    start: StartOptions = StartOptions()
    """Where fits start."""
    fit: VideoFitOptions = VideoFitOptions(
        **{f.name: getattr(FROM_LIFTER, f.name) for f in dataclasses.fields(FitOptions)}
    )
    """The fit."""
    motion: MotionOptions = MotionOptions()
    """How frames of a person in a video are tied together."""
    output: OutputOptions = OutputOptions()
    """What is written."""
    frames: FrameChoice = FrameChoice()
    """Which frames of a video are looked at."""
    limit_frames: int | None = None
    """Frames (or photos) looked at, the first ones of these; None looks at all."""

    def __post_init__(self) -> None:
        check_stages(self.start, self.fit)


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
    seconds_by_stage: dict[str, float]
    warnings: tuple[str, ...]
    camera_motion: CameraUsed | None
    """Whether the camera of a video that was fitted over time was taken to be fixed."""
    advice: str | None
    """What to do if nobody was found; None if somebody was."""


def annotate(
    source: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    *,
    options: AnnotateOptions,
    model_folder: str | os.PathLike[str],
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> AnnotateSummary:
    """Label every person in a photo, a folder of photos, a video or a keypoint file.

    Args:
        source: What to label.
        output_folder: Gets `labels.parquet`, `overlay/*.png` or `overlay.mp4`, and `run.json`. What an earlier
            run of this function left there is replaced.
        options: Options of the job.
        model_folder: Where the packaged perception models are.
        command: Command line, for `run.json`.
        progress: Called as work goes on.

    Returns:
        Counts, errors and times.

    Raises:
        FileNotFoundError: If the source, a model file or the body file is missing.
        hardmo_jax.perception.video.MediaError: If the source cannot be read.
        hardmo_jax.body.io.BodyFileError: If the body file is not one.
        hardmo_jax.observations.ObservationError: If frames of a video cannot be fitted together by the options.
        OutputFolderError: If the output folder holds anything else than an earlier run.
    """
    report = progress or (lambda stage, done, total: None)
    output = pathlib.Path(output_folder)
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=command)
    present = check_output_folder(
        output, pathlib.Path(source), _OWN_OUTPUTS, job="annotate", source_lies=f"the input {source} lies"
    )
    if "labels.parquet" in present:
        rows = store.read_labels(output / "labels.parquet").rows
        if any(row.has_a_persons_word for row in rows):
            raise OutputFolderError(
                f"{output} holds labels that a person made or reviewed; give another --output_dir and merge afterwards"
            )
    # Everything that can be wrong with the request is found before any work is done.
    body = load_body_option(options.body)
    media = video.open_media(source)
    if _is_over_time(media, options):
        check_track_options(weights_of_frames(options.fit))
    files = None
    if media.kind == "keypoints":
        if options.perception.detector != "auto" or options.perception.keypoints_file is not None:
            raise load_source.SourceError(
                f"{source} holds keypoints, so nobody is looked for in its photos; pass the photos as --input to have "
                "a detector look at them"
            )
        files = FilePeople(media.path, only=media.paths, layout=layout_choice(options.perception.keypoints_layout))
        media = media.with_photos(files.photos())
    media = media.chosen(options.frames)
    people_source = load_source.load_source(model_folder, options.perception, bodies=files)
    for own in load_source.own_files(options.perception, model_folder, with_bodies=files is None):
        record.add_file(own.name, own)
    renderer = raster.choose_renderer(options.output.renderer) if options.output.overlay else None

    # Work goes into a folder beside the goal and is moved there when it is complete: a run that fails or is
    # stopped leaves the earlier one as it was.
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
        summary = _annotate_into(
            pathlib.Path(scratch),
            media,
            body,
            people_source,
            renderer,
            options,
            pathlib.Path(model_folder),
            record,
            report,
        )
        replace_outputs(pathlib.Path(scratch), output, _OWN_OUTPUTS)
    return summary


def _annotate_into(
    output: pathlib.Path,
    media: video.Media,
    body: BodyModel,
    people_source: PeopleSource,
    renderer: raster.Renderer | None,
    options: AnnotateOptions,
    model_folder: pathlib.Path,
    record: provenance.RunRecord,
    report: Progress,
) -> AnnotateSummary:
    """The stations of the job, one after the other."""
    warnings: list[str] = []
    camera_path: CameraPath | None = None
    camera: CameraUsed | None = None
    with record.stage("perceive"):
        pictures, sightings, camera_path = perceive(
            media,
            people_source,
            # Whoever says how the camera stands is not contradicted.
            watch_camera=_is_over_time(media, options) and options.fit.camera_is_fixed == "auto",
            quality=options.quality,
            limit_frames=options.limit_frames,
            report=report,
        )
        looked_at = min(media.frame_count or 0, options.limit_frames or sys.maxsize)
        num_unread = max(looked_at - len(pictures), 0) if media.kind == "folder" else 0
        warnings += [*media.warnings, *people_source.warnings]
        if media.kind == "video":
            sightings = lasting_people(sightings, len(pictures), warnings)
        if not pictures:
            raise video.MediaError(f"{media.path}: none of its pictures can be read; {'; '.join(warnings[:3])}")
        sightings, left_out = without_badly_seen(sightings, options.quality.drop)
    pictures, sightings = with_cameras(media, pictures, sightings, body, options.camera, record, warnings)
    result = hypotheses = ground = None
    with record.stage("fit"):
        if sightings and _is_over_time(media, options):
            tracks = fit_tracks(
                body, pictures, sightings, start=options.start, options=options.fit, motion=options.motion,
                report=report, camera_path=camera_path,
            )  # fmt: skip
            sightings, result, camera = tracks.sightings, tracks.result, tracks.camera
            warnings += tracks.warnings
            record.add("camera_motion", camera_record(camera))
            ground = tracks.ground
            if ground is not None:
                record.add("ground", ground_record(ground))
        elif sightings:
            recovered = _fit_all(body, sightings, options, report)
            result, hypotheses = recovered.result, recovered.hypotheses
            sightings = as_read(sightings, np.asarray(recovered.keypoint_order))
            gap = options.motion.longest_gap_seconds
            sightings = with_evidence(
                sightings, frames_per_second=None, longest_gap_seconds=gap, part_weights=options.fit.part_weights
            )
    with record.stage("label"):
        rows = []
        if result is not None:
            rate = _rate_of_labels(media, pictures)
            rows = to_labels(
                sightings, result, hypotheses, body, media, options.output,
                origin=origin_columns(options), ground=ground, frames_per_second=rate,
            )  # fmt: skip
    if rows and options.output.part_scores:
        with record.stage("score"):
            rows = score_labels(rows, body, progress=report)
    store.write_labels(output / "labels.parquet", rows)
    if renderer is not None:
        with record.stage("draw"):
            draw_overlays(
                media, pictures, sightings, result, body, renderer, options.output, output, report,
                limit_frames=options.limit_frames,
            )  # fmt: skip
        record.add("renderer", renderer.name)
        if renderer.reason:
            warnings.append(f"drawn without OpenGL: {renderer.reason}")
    record.add("body_model", {"name": body.name, "sha256": body.checksum})
    record.add("learnt", {path.name: provenance.file_sha256(path) for path in learnt_files()})
    for name, file in model_files.MODEL_FILES.items():
        if name not in model_files.missing_models(model_folder):
            record.add_file(file.name, model_folder / file.name, sha256=file.sha256)
    if media.kind == "video":
        record.add("cuts", [picture.frame_index for picture in pictures if picture.starts_shot])
    record.add("sources", {relative_source(media, picture): picture.source_sha256 for picture in pictures})
    advice = advice_if_nobody(people_source.source, options.perception)
    if left_out.num_people:
        advice = f"{left_out.phrase}; --config.quality.drop=() keeps them"
    num_unusable = num_unread + media.num_left_out + len(people_source.unusable)
    summary = _summarise(pictures, sightings, rows, record, tuple(warnings), camera, advice, left_out, num_unusable)
    record.add("cameras", [dataclasses.asdict(use) for use in summary.cameras])
    counts = {"people": summary.num_people, "filled": summary.num_filled, "unfilled": summary.num_unfilled,
              "unusable": summary.num_unusable}  # fmt: skip
    record.add("summary", {**counts, "status": summary.status_counts})
    record.add("quality", {"reasons": summary.reason_counts, "left_out": dataclasses.asdict(left_out)})
    record.write(output / "run.json")
    return summary


def _is_over_time(media: video.Media, options: AnnotateOptions) -> bool:
    """Whether frames of a person are fitted together."""
    return media.kind == "video" and options.fit.temporal and options.start.kind == "lifter"


def learnt_files() -> list[pathlib.Path]:
    """What the package has learnt and labels depend on."""
    package = pathlib.Path(hardmo_jax.__file__).parent
    places = (
        "networks/assets/lifter.npz",
        "networks/assets/motion_lifter.npz",
        "networks/assets/ranker.npz",
        "networks/assets/part_scorer.npz",
        "fitting/assets/pose_prior.npz",
    )
    return [package / place for place in places if (package / place).is_file()]


def _rate_of_labels(media: video.Media, pictures: list[Picture]) -> float | None:
    """Frames a second as the fit takes them: the mean that a container tells is none of a video of variable rate."""
    if media.kind != "video":
        return None
    return frame_rate(pictures) if len(pictures) > 1 else media.fps


def load_body_option(options: BodyOptions) -> BodyModel:
    """The body named by options."""
    if options.model == "open_body":
        return load.open_body(view=options.view)
    body = load.load_body(options.model)
    if body.family.startswith("mano"):
        raise BodyFileError(f"{options.model} is a single hand; annotate needs a whole body")
    return body


def _fit_all(body: BodyModel, sightings: list[Sighting], options: AnnotateOptions, report: Progress) -> Recovered:
    """Fit everybody, some at a time so that progress can be told."""
    most = min(options.fit.max_batch, _PEOPLE_A_REPORT)
    # Pieces of one size: another size would be another program to compile.
    size = math.ceil(len(sightings) / math.ceil(len(sightings) / most))
    report("fit", 0, len(sightings))
    pieces = []
    for first in range(0, len(sightings), size):
        some = to_observations(sightings[first : first + size])
        observations = without_unweighted_parts(some, options.fit.part_weights)
        recovered = lift_and_fit(body, observations, start=options.start, options=options.fit)
        pieces.append(jax.block_until_ready(recovered))
        report("fit", min(first + size, len(sightings)), len(sightings))
    return jax.tree.map(lambda *leaves: jnp.concatenate([jnp.asarray(leaf) for leaf in leaves]), *pieces)


def _worst(rows: list[schema.LabelRow], count: int = 3) -> tuple[str, ...]:
    """The people to look at first, each as a phrase."""
    failed = [row for row in rows if not row.is_usable and row.keypoint_source != FILLED_SOURCE]
    poor = [row for row in rows if row.is_usable and (row.error_by_part["body"] or 0) > _POOR_ERROR]
    poor.sort(key=lambda row: -(row.error_by_part["body"] or 0))
    phrases = []
    for row in [*failed, *poor][:count]:
        place = f"{row.source_path} frame {row.frame_index}" if row.fps else row.source_path
        outcome = row.status if not row.is_usable else f"body {100 * (row.error_by_part['body'] or 0):.1f} %"
        phrases.append(f"{place}, person {row.track_id}: {outcome}")
    return tuple(phrases)


def _summarise(
    pictures: list[Picture],
    sightings: list[Sighting],
    rows: list[schema.LabelRow],
    record: provenance.RunRecord,
    warnings: tuple[str, ...],
    camera: CameraUsed | None = None,
    advice: str | None = None,
    left_out: LeftOut | None = None,
    num_unusable: int = 0,
) -> AnnotateSummary:
    """Counts and medians for the table at the end."""
    usable = [row for row in rows if row.is_usable]
    medians: dict[str, float | None] = {}
    for part in layouts.PARTS:
        errors = [error for row in usable if (error := row.error_by_part.get(part)) is not None]
        medians[part] = float(np.median(errors)) if errors else None
    counts: dict[str, int] = {}
    is_filled = [row.status == FitStatus.FILLED.name for row in rows]
    is_seen = [row.keypoint_source != FILLED_SOURCE and not own for row, own in zip(rows, is_filled, strict=True)]
    for row, own in zip(rows, is_seen, strict=True):
        counts[row.status] = counts.get(row.status, 0) + own
    tracks = {(sighting.picture.source_path, sighting.track_id) for sighting in sightings}
    return AnnotateSummary(
        num_pictures=len(pictures),
        num_people=sum(is_seen),
        num_filled=sum(is_filled),
        num_unfilled=len(rows) - sum(is_seen) - sum(is_filled),
        num_tracks=len(tracks),
        status_counts={status: count for status, count in counts.items() if count},
        worst=_worst(rows),
        median_error_by_part=medians,
        cameras=camera_uses(pictures),
        reason_counts=reason_counts(rows),
        left_out=left_out or LeftOut(),
        num_unusable=num_unusable,
        seconds_by_stage=dict(record.seconds),
        warnings=warnings,
        camera_motion=camera,
        advice=None if rows else advice,
    )


def advice_if_nobody(source: str, options: PerceptionOptions) -> str:
    """What has not been tried where nobody was found."""
    if source.startswith("file:"):
        return "nobody was found: the files of keypoints hold nobody with a confident point"
    if options.turned == "never":
        return "nobody was found upright; --config.perception.turned=when_empty looks for people upside down too"
    return "nobody was found, upright or upside down; crop closer to the people, or take larger or brighter pictures"
