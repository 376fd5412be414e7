"""The Normal Annotation stage: photos, video or keypoint files to SMPL labels, a table of them and pictures.

Pixels → perception → observations → fit → labels → overlays. Pictures are decoded twice (once to look at people,
once to draw on them) instead of held, so memory does not grow with the length of a video.
"""

import collections
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

import hardmo_jax
from hardmo_jax.body import load
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting.evidence import CONFIDENT
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import provenance, schema, store
from hardmo_jax.observations import Observations
from hardmo_jax.perception import estimate, keypoint_files, model_files, photos, video
from hardmo_jax.recovery import focal_length
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, Hypotheses, Recovered, check_stages, lift_and_fit
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.rendering import raster
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import overlay

CameraSource = Literal["auto", "exif", "field_of_view", "diagonal", "solve"]
#: People fitted between two reports of progress.
_PEOPLE_A_REPORT = 256
#: Called as work goes on: stage, units done, units in all (None if unknown).
Progress = Callable[[str, int, int | None], None]

#: Share of a part's confident keypoints within this distance, in box sides, is the part's score.
SCORE_THRESHOLD = 0.05
#: Body error, in box sides, from which a person is named at the end of a run.
_POOR_ERROR = 0.03
#: Bodies posed at once when drawing.
_DRAWING_BATCH = 8
_OWN_OUTPUTS = ("labels.parquet", "overlay.mp4", "overlay", "run.json")
_UNFINISHED = ".annotate-"


class OutputFolderError(ValueError):
    """The output folder holds something this program did not write."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyOptions:
    """Which body is fitted."""

    model: str = "open_body"
    """`open_body`, or the path of a SMPL, SMPL-H or SMPL-X file, or a folder of one."""
    view: Literal["smpl", "smplh"] = "smplh"
    """Joints of the open body: `smplh` with fingers, `smpl` with 24 joints."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """Where the focal length of a camera nobody calibrated comes from."""

    source: CameraSource = "auto"
    """`field_of_view` is the given one; `exif` what the photo notes of its lens; `diagonal` a focal length equal to the
    diagonal; `solve` that of a video, from how the people in it look; `auto` the given one, else EXIF, else the
    diagonal. A photo without a note that can be used, and a video that does not tell, have the diagonal."""
    field_of_view_degrees: float | None = None
    """Angle across the image diagonal, if it is known."""

    def __post_init__(self) -> None:
        angle = self.field_of_view_degrees
        if self.source not in get_args(CameraSource):
            raise ValueError(f"unknown `source` {self.source!r}; known: {', '.join(get_args(CameraSource))}")
        if angle is not None and not 0 < angle < 180:
            raise ValueError(f"`field_of_view_degrees` must be in (0, 180), got {angle}")
        if angle is not None and self.source not in ("auto", "field_of_view"):
            raise ValueError(
                f"`field_of_view_degrees` {angle:g} and `source` {self.source!r} contradict each other: leave the "
                "angle out, or set `source` to 'field_of_view'"
            )
        if angle is None and self.source == "field_of_view":
            raise ValueError("`source` 'field_of_view' needs `field_of_view_degrees`, the angle across the diagonal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written."""

    overlay: bool = True
    """Draw the fitted meshes over the pictures."""
    renderer: Literal["auto", "gl", "painter"] = "auto"
    """OpenGL, the painter that needs none, or OpenGL where there is one."""
    side_by_side: bool = True
    """Put the untouched picture beside the overlay."""
    show_keypoints: bool = True
    """Draw the keypoints that were fitted to."""
    category: str | None = None
    """Class of the motion, e.g. `ballet`; written to every label."""
    licence: str | None = None
    """Licence of the pictures; written to every label."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """Options of the whole job; one section of the config each."""

    seed: int = 0
    """Kept with the labels; the default stages draw no random numbers."""
    body: BodyOptions = BodyOptions()
    """Which body is fitted."""
    camera: CameraOptions = CameraOptions()
    """Where the focal length comes from."""
    perception: estimate.PerceptionOptions = estimate.PerceptionOptions()
    """Detection and keypoints."""
    start: StartOptions = StartOptions()
    """Where fits start."""
    fit: FitOptions = FROM_LIFTER
    """The fit."""
    output: OutputOptions = OutputOptions()
    """What is written."""
    limit_frames: int | None = None
    """Frames (or photos) looked at; None looks at all."""

    def __post_init__(self) -> None:
        check_stages(self.start, self.fit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One photo or frame: where it came from, without its pixels."""

    position: int
    source_path: pathlib.Path
    source_sha256: str
    frame_index: int
    time_seconds: float | None
    width: int
    height: int
    focal_length_35mm: float | None = None
    """By EXIF, millimetres before 35 mm film; see `photos.PhotoHeader`."""
    field_of_view_degrees: float | None = None
    """Across the diagonal, by the camera that was chosen; None is a focal length equal to the diagonal."""
    camera_source: str = "diagonal"
    """Where that camera comes from, as the label says it."""

    @property
    def camera(self) -> cameras.Camera:
        """The camera of fit, label and drawing."""
        return cameras.camera_from_image_size(self.width, self.height, field_of_view_degrees=self.field_of_view_degrees)

    @property
    def vertical_field_of_view_degrees(self) -> float:
        """Angle from the top of the picture to its bottom."""
        return math.degrees(2 * math.atan(0.5 * self.height / float(self.camera.focal_length[1])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sighting:
    """One person in one picture."""

    picture: Picture
    track_id: int
    keypoints_2d: np.ndarray
    confidence: np.ndarray
    keypoints_3d: np.ndarray | None
    confidence_3d: np.ndarray | None
    bbox: np.ndarray
    score: float | None
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraUse:
    """The cameras of one source."""

    source: str
    """`exif`, `field_of_view`, `diagonal` or `solved`."""
    num_pictures: int
    vertical_field_of_view_degrees: tuple[float, float]
    """Narrowest and widest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """What the job did, for the table at its end."""

    num_pictures: int
    num_people: int
    num_tracks: int
    status_counts: dict[str, int]
    worst: tuple[str, ...]
    """Who to look at first: the people whose body is farthest from its keypoints, and the failed fits."""
    median_error_by_part: dict[str, float | None]
    """Box sides; over the people with a usable fit; None without evidence."""
    cameras: tuple[CameraUse, ...]
    """Which cameras were taken, the most used first."""
    seconds_by_stage: dict[str, float]
    warnings: tuple[str, ...]


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
        OutputFolderError: If the output folder holds anything else than an earlier run.
    """
    report = progress or (lambda stage, done, total: None)
    output = pathlib.Path(output_folder)
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=command)
    _check_output(output, pathlib.Path(source))
    # Everything that can be wrong with the request is found before any work is done.
    body = load_body_option(options.body)
    media = video.open_media(source)
    estimator = None
    if media.kind != "keypoints":
        estimator = estimate.load_estimator(model_folder, options.perception)
    renderer = raster.choose_renderer(options.output.renderer) if options.output.overlay else None

    # Work goes into a folder beside the goal and is moved there when it is complete: a run that fails or is
    # stopped leaves the earlier one as it was.
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
        summary = _annotate_into(
            pathlib.Path(scratch), media, body, estimator, renderer, options, pathlib.Path(model_folder), record, report
        )
        _replace_output(pathlib.Path(scratch), output)
    return summary


def _annotate_into(
    output: pathlib.Path,
    media: video.Media,
    body: BodyModel,
    estimator: estimate.Estimator | None,
    renderer: raster.Renderer | None,
    options: AnnotateOptions,
    model_folder: pathlib.Path,
    record: provenance.RunRecord,
    report: Progress,
) -> AnnotateSummary:
    """The stations of the job, one after the other."""
    warnings: list[str] = []
    with record.stage("perceive"):
        if estimator is None:
            pictures, sightings = _from_keypoint_files(media, options, warnings)
        else:
            pictures, sightings = _perceive(media, estimator, options, report)
            warnings += media.warnings
            if not pictures:
                raise video.MediaError(f"{media.path}: none of its pictures can be read; {'; '.join(warnings[:3])}")
    pictures, sightings = _with_cameras(media, pictures, sightings, body, options.camera, record, warnings)
    with record.stage("fit"):
        recovered = _fit_all(body, sightings, options, report) if sightings else None
        result = None
        if recovered is not None:
            result = recovered.result
            sightings = _as_read(sightings, np.asarray(recovered.keypoint_order))
    with record.stage("label"):
        rows = to_labels(sightings, recovered, body, options, media) if recovered is not None else []
        store.write_labels(output / "labels.parquet", rows)
    if renderer is not None:
        with record.stage("draw"):
            _draw(media, pictures, sightings, result, body, renderer, options, output, report)
        record.add("renderer", renderer.name)
        if renderer.reason:
            warnings.append(f"drawn without OpenGL: {renderer.reason}")
    record.add("body_model", {"name": body.name, "sha256": body.checksum})
    record.add("learnt", {path.name: provenance.file_sha256(path) for path in learnt_files()})
    if estimator is not None:
        pinned = model_files.MODEL_FILES.values()
        for file in pinned:
            record.add_file(file.name, model_folder / file.name, sha256=file.sha256)
    record.add("sources", {relative_source(media, picture): picture.source_sha256 for picture in pictures})
    summary = _summarise(pictures, sightings, rows, record, tuple(warnings))
    record.add("cameras", [dataclasses.asdict(use) for use in summary.cameras])
    record.add("summary", {"people": summary.num_people, "status": summary.status_counts})
    record.write(output / "run.json")
    return summary


def learnt_files() -> list[pathlib.Path]:
    """What the package has learnt and labels depend on."""
    package = pathlib.Path(hardmo_jax.__file__).parent
    places = ("networks/assets/lifter.npz", "networks/assets/ranker.npz", "fitting/assets/pose_prior.npz")
    return [package / place for place in places if (package / place).is_file()]


def load_body_option(options: BodyOptions) -> BodyModel:
    """The body named by options."""
    if options.model == "open_body":
        return load.open_body(view=options.view)
    body = load.load_body(options.model)
    if body.family.startswith("mano"):
        raise BodyFileError(f"{options.model} is a single hand; annotate needs a whole body")
    return body


def _with_cameras(
    media: video.Media,
    pictures: list[Picture],
    sightings: list[Sighting],
    body: BodyModel,
    options: CameraOptions,
    record: provenance.RunRecord,
    warnings: list[str],
) -> tuple[list[Picture], list[Sighting]]:
    """Pictures, and people in them, with the camera that everything after this takes from the picture."""
    source: str = options.source
    if source == "solve" and media.kind != "video":
        warnings.append(
            "one photo does not tell its focal length, so `camera.source` 'solve' is for videos; 'auto' was taken"
        )
        source = "auto"
    if source == "solve":
        with record.stage("camera"):
            angle = _solved_field_of_view(sightings, body, record, warnings)
        chosen = {picture.position: (angle, "diagonal" if angle is None else "solved") for picture in pictures}
    else:
        chosen = {picture.position: _noted_field_of_view(picture, options, source) for picture in pictures}
    num_without = sum(found == "diagonal" for _, found in chosen.values())
    if source == "exif" and num_without:
        warnings.append(
            f"{num_without} of {len(pictures)} pictures have no EXIF focal length that can be used; their focal length "
            "is assumed to be the diagonal"
        )

    def with_camera(picture: Picture) -> Picture:
        angle, found = chosen[picture.position]
        return dataclasses.replace(picture, field_of_view_degrees=angle, camera_source=found)

    known = {picture.position: with_camera(picture) for picture in pictures}
    return list(known.values()), [
        dataclasses.replace(sighting, picture=known[sighting.picture.position]) for sighting in sightings
    ]


def _noted_field_of_view(picture: Picture, options: CameraOptions, source: str) -> tuple[float | None, str]:
    """Angle across the diagonal that the user or the photo tells, or None, and where it comes from."""
    if options.field_of_view_degrees is not None:
        return options.field_of_view_degrees, "field_of_view"
    if source in ("auto", "exif") and picture.focal_length_35mm is not None:
        return _diagonal_angle(picture.focal_length_35mm / photos.FILM_DIAGONAL), "exif"
    return None, "diagonal"


def _solved_field_of_view(
    sightings: list[Sighting], body: BodyModel, record: provenance.RunRecord, warnings: list[str]
) -> float | None:
    """Angle across the diagonal that the people of a video tell; None if they do not. They have the diagonal so far."""
    if not sightings:
        return None
    # Frames of one person within a second err alike.
    moments = [(sighting.track_id, int(sighting.picture.time_seconds or 0)) for sighting in sightings]
    numbers = {moment: number for number, moment in enumerate(dict.fromkeys(moments))}
    solved = focal_length.solve_focal_length(
        body, to_observations(sightings), groups=np.array([numbers[moment] for moment in moments])
    )
    record.add(
        "solved_focal_length",
        {
            "is_determined": solved.is_determined,
            "reason": solved.reason,
            "estimate_over_diagonal": solved.estimate,
            "log_spread": solved.log_spread if math.isfinite(solved.log_spread) else None,
            "distance": solved.distance if math.isfinite(solved.distance) else None,
            "num_people": solved.num_people,
        },
    )
    if not solved.is_determined:
        warnings.append(f"the focal length is assumed to be the diagonal: {solved.reason}")
        return None
    return _diagonal_angle(solved.scale)


def _diagonal_angle(share: float) -> float:
    """Degrees that a focal length of this share of the diagonal sees across it."""
    return math.degrees(2 * math.atan(0.5 / share))


def to_observations(sightings: list[Sighting]) -> Observations:
    """All people of a job as one batch."""
    views = [sighting.picture.camera for sighting in sightings]
    has_3d = all(sighting.keypoints_3d is not None for sighting in sightings)
    return Observations(
        keypoints_2d=np.stack([sighting.keypoints_2d for sighting in sightings]),
        confidence=np.stack([sighting.confidence for sighting in sightings]),
        keypoints_3d=np.stack([s.keypoints_3d for s in sightings]) if has_3d else None,  # pyright: ignore[reportCallIssue, reportArgumentType]
        confidence_3d=np.stack([s.confidence_3d for s in sightings]) if has_3d else None,  # pyright: ignore[reportCallIssue, reportArgumentType]
        bbox=np.stack([sighting.bbox for sighting in sightings]),
        camera=cameras.Camera(
            focal_length=np.stack([np.asarray(view.focal_length) for view in views]),
            principal_point=np.stack([np.asarray(view.principal_point) for view in views]),
        ),
        layout="openpose67",
    )


def _fit_all(body: BodyModel, sightings: list[Sighting], options: AnnotateOptions, report: Progress) -> Recovered:
    """Fit everybody, some at a time so that progress can be told."""
    size = min(options.fit.max_batch, _PEOPLE_A_REPORT)
    report("fit", 0, len(sightings))
    pieces = []
    for first in range(0, len(sightings), size):
        observations = to_observations(sightings[first : first + size])
        recovered = lift_and_fit(body, observations, start=options.start, options=options.fit)
        pieces.append(jax.block_until_ready(recovered))
        report("fit", min(first + size, len(sightings)), len(sightings))
    return jax.tree.map(lambda *leaves: jnp.concatenate([jnp.asarray(leaf) for leaf in leaves]), *pieces)


def _perceive(
    media: video.Media, estimator: estimate.Estimator, options: AnnotateOptions, report: Progress
) -> tuple[list[Picture], list[Sighting]]:
    """Look at every picture."""
    pictures: list[Picture] = []
    total = media.frame_count
    if options.limit_frames is not None:
        total = options.limit_frames if total is None else min(total, options.limit_frames)

    def images() -> Iterator[np.ndarray]:
        for frame in media.frames(stop=options.limit_frames, on_error="skip" if media.kind == "folder" else "raise"):
            height, width = frame.image.shape[:2]
            pictures.append(
                Picture(
                    position=frame.position,
                    source_path=frame.source_path,
                    source_sha256=frame.source_sha256,
                    frame_index=frame.frame_index,
                    time_seconds=frame.time_seconds,
                    width=width,
                    height=height,
                    focal_length_35mm=frame.focal_length_35mm,
                )
            )
            yield frame.image

    report("perceive", 0, total)
    if media.kind == "video":
        found = estimator.track(images())
    else:
        found = (estimator(image) for image in images())
    sightings = []
    for people in found:
        report("perceive", len(pictures), total)
        # From left to right: the number of a person must not hang on scores, which every option moves.
        for number, person in enumerate(sorted(people, key=lambda person: float(person.bbox[0] + person.bbox[2]))):
            sightings.append(
                Sighting(
                    picture=pictures[-1],
                    track_id=number if person.track_id is None else person.track_id,
                    keypoints_2d=person.keypoints_2d,
                    confidence=person.confidence,
                    keypoints_3d=person.keypoints_3d,
                    confidence_3d=person.confidence_3d,
                    bbox=person.bbox,
                    score=person.score,
                    source="blazepose",
                )
            )
    return pictures, sightings


def _from_keypoint_files(
    media: video.Media, options: AnnotateOptions, warnings: list[str]
) -> tuple[list[Picture], list[Sighting]]:
    """People of keypoint files, with the photos that lie beside them; a file without its photo is a warning."""
    pictures: dict[pathlib.Path, Picture] = {}
    sightings: list[Sighting] = []
    counts: dict[pathlib.Path, int] = {}
    missing: dict[str, keypoint_files.KeypointFileError] = {}
    for path in media.paths:
        for person in keypoint_files.read_keypoints(path):
            try:
                photo = keypoint_files.find_photo(path, person.image_file)
            except keypoint_files.KeypointFileError as error:
                missing[str(error)] = error
                continue
            if photo not in pictures:
                if options.limit_frames is not None and len(pictures) >= options.limit_frames:
                    continue
                file = video.open_media(photo).files[0]
                pictures[photo] = Picture(
                    position=len(pictures),
                    source_path=photo,
                    source_sha256=file.sha256,
                    frame_index=0,
                    time_seconds=None,
                    width=_known(file.width),
                    height=_known(file.height),
                    focal_length_35mm=file.focal_length_35mm,
                )
            picture = pictures[photo]
            counts[photo] = counts.get(photo, 0) + 1
            box = person.bbox
            if box is None:
                seen = person.keypoints_2d[person.confidence > 0]
                if len(seen) == 0:
                    continue
                box = np.concatenate([seen.min(0), seen.max(0)])
            sightings.append(
                Sighting(
                    picture=picture,
                    track_id=counts[photo] - 1,
                    keypoints_2d=person.keypoints_2d,
                    confidence=person.confidence,
                    keypoints_3d=None,
                    confidence_3d=None,
                    bbox=box,
                    score=None,
                    source=f"file:{person.layout}",
                )
            )
    if missing and not pictures:
        raise next(iter(missing.values()))
    warnings += list(missing)
    return list(pictures.values()), sightings


def relative_source(media: video.Media, picture: Picture) -> str:
    """Path of a picture below what was labelled; nothing of the user's folders above it is written down."""
    root = media.path if media.path.is_dir() else media.path.parent
    path = picture.source_path.resolve()
    root = root.resolve()
    return (path.relative_to(root) if path.is_relative_to(root) else pathlib.Path(path.name)).as_posix()


def to_labels(
    sightings: list[Sighting], recovered: Recovered, body: BodyModel, options: AnnotateOptions, media: video.Media
) -> list[schema.LabelRow]:
    """One label a person and picture."""
    config = json.dumps(dataclasses.asdict(options), sort_keys=True, default=str)
    config_sha256 = hashlib.sha256(config.encode()).hexdigest()
    commit = provenance.git_commit(pathlib.Path(__file__).parent)
    code_version = hardmo_jax.__version__ + (f"+{commit[:12]}" if commit else "")
    arrays = jax.tree.map(np.asarray, recovered.result)
    others = None if recovered.hypotheses is None else jax.tree.map(np.asarray, recovered.hypotheses)
    rows = []
    for index, sighting in enumerate(sightings):
        picture = sighting.picture
        params = jax.tree.map(lambda leaf, at=index: leaf[at], arrays.params)
        rows.append(
            schema.LabelRow(
                source_path=relative_source(media, picture),
                source_sha256=picture.source_sha256,
                frame_index=picture.frame_index,
                time_seconds=picture.time_seconds,
                fps=media.fps,
                image_width=picture.width,
                image_height=picture.height,
                bbox=sighting.bbox,
                track_id=sighting.track_id,
                category=options.output.category,
                licence=options.output.licence,
                person_score=sighting.score,
                keypoint_source=sighting.source,
                keypoints_2d=sighting.keypoints_2d,
                keypoint_confidence=sighting.confidence,
                keypoints_3d=arrays.keypoints_3d[index],
                body_model=f"{body.name}_{body.family}",
                gender=body.gender,
                code_version=code_version,
                config_sha256=config_sha256,
                body_model_sha256=body.checksum,
                **_pose_columns(params),
                focal_length=arrays.camera.focal_length[index],
                principal_point=arrays.camera.principal_point[index],
                camera_source=picture.camera_source,
                vertical_field_of_view_degrees=picture.vertical_field_of_view_degrees,
                status=FitStatus(int(arrays.status[index])).name,
                error_by_part={part: _value(values[index]) for part, values in arrays.error_by_part.items()},
                score_by_part=_scores(sighting, arrays.keypoints_2d[index]),
                hypotheses=None if others is None else _hypotheses(others, index),
            )
        )
    return rows


def _as_read(sightings: list[Sighting], order: np.ndarray) -> list[Sighting]:
    """People with left and right as the fit took them, which the source of their keypoints then says."""
    straight = np.arange(order.shape[-1])

    def read(sighting: Sighting, own: np.ndarray) -> Sighting:
        if np.array_equal(own, straight):
            return sighting
        arrays = {
            name: getattr(sighting, name)[own]
            for name in ("keypoints_2d", "confidence", "keypoints_3d", "confidence_3d")
            if getattr(sighting, name) is not None
        }
        return dataclasses.replace(sighting, **arrays, source=f"{sighting.source}, sides exchanged")

    return [read(sighting, own) for sighting, own in zip(sightings, order, strict=True)]


def _hypotheses(found: Hypotheses, index: int) -> tuple[schema.Hypothesis, ...] | None:
    """What else a person might be, likeliest first; None where the fit had one start only."""
    if len(found.names) == 1:
        return None
    rows = []
    for place in np.argsort(-found.probability[index], kind="stable"):
        params = jax.tree.map(lambda leaf, at=place: leaf[index, at], found.params)
        columns = _pose_columns(params)
        kept = ("global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
        is_finite = all(columns[name] is None or np.isfinite(columns[name]).all() for name in kept)
        if found.probability[index, place] <= 0 or not is_finite:
            continue
        rows.append(
            schema.Hypothesis(
                name=found.names[place],
                weight=float(min(found.probability[index, place], 1.0)),
                error=_value(found.body_error[index, place]),
                **{name: columns[name] for name in kept},
            )
        )
    return tuple(rows)


def _pose_columns(params: BodyParams) -> dict[str, Any]:
    """Parameters as the schema splits them: 21 joints that all families share, then hands by family."""
    shared = schema.NUM_BODY_JOINTS
    betas = np.zeros(10, np.float32)
    betas[: min(10, params.betas.shape[-1])] = params.betas[:10]
    is_smpl = params.left_hand_pose is None
    return {
        "betas": betas,
        "global_orient": np.asarray(params.global_orient),
        "body_pose": np.asarray(params.body_pose[:shared]),
        "transl": np.asarray(params.transl),
        "left_hand_pose": None if is_smpl else np.asarray(params.left_hand_pose),
        "right_hand_pose": None if is_smpl else np.asarray(params.right_hand_pose),
        "smpl_hand_pose": np.asarray(params.body_pose[shared:]) if is_smpl else None,
    }


def _known(size: int | None) -> int:
    """A photo's size, which its header always tells."""
    if size is None:
        raise video.MediaError("a photo without a size; save it again in another format")
    return size


def _value(number: float | np.floating) -> float | None:
    return float(number) if np.isfinite(number) else None


def _scores(sighting: Sighting, fitted: np.ndarray) -> dict[str, float | None]:
    """Share of each part's confident keypoints that the fit meets within `SCORE_THRESHOLD` of the box side."""
    box = sighting.bbox
    side = max(float(np.max(box[2:] - box[:2])), 1.0)
    distance = np.linalg.norm(fitted - sighting.keypoints_2d, axis=-1) / side
    is_counted = (sighting.confidence >= CONFIDENT) & np.isfinite(distance)
    parts = np.array([layouts.part_of(point) or "" for point in layouts.get_layout("openpose67").points])
    scores: dict[str, float | None] = {}
    for part in layouts.PARTS:
        kept = is_counted & (parts == part)
        scores[part] = float((distance[kept] < SCORE_THRESHOLD).mean()) if kept.any() else None
    return scores


def _check_output(output: pathlib.Path, source: pathlib.Path) -> None:
    """Refuse an output folder whose content must not be replaced."""
    if output.exists() and not output.is_dir():
        raise OutputFolderError(f"{output} is a file; give a folder for the labels, e.g. --output_dir=out/annotate")
    if source.resolve().is_relative_to(output.resolve()):
        raise OutputFolderError(f"the input {source} lies in the output folder {output}; give another --output_dir")
    present = {path.name for path in output.iterdir()} if output.exists() else set()
    foreign = sorted(name for name in present - set(_OWN_OUTPUTS) if not name.startswith(".writing-"))
    if foreign:
        raise OutputFolderError(
            f"{output} holds {foreign[0]!r}, which no annotate run wrote; give an empty folder as --output_dir"
        )
    if "labels.parquet" in present:
        rows = store.read_labels(output / "labels.parquet").rows
        if any(row.origin == "human" or row.review == "accepted" for row in rows):
            raise OutputFolderError(
                f"{output} holds labels that a person made or accepted; give another --output_dir and merge afterwards"
            )


def _replace_output(scratch: pathlib.Path, output: pathlib.Path) -> None:
    """Put a complete run where the earlier one was."""
    output.mkdir(parents=True, exist_ok=True)
    for name in _OWN_OUTPUTS:
        old, new = output / name, scratch / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old.exists() and not new.exists():
            old.unlink()
        if new.exists():
            os.replace(new, old)


def _draw(
    media: video.Media,
    pictures: list[Picture],
    sightings: list[Sighting],
    result: FitResult | None,
    body: BodyModel,
    renderer: raster.Renderer,
    options: AnnotateOptions,
    output: pathlib.Path,
    report: Progress,
) -> None:
    """Meshes over the pictures: a PNG a photo, or one video."""
    style = overlay.OverlayStyle(side_by_side=options.output.side_by_side, show_keypoints=options.output.show_keypoints)
    faces = np.asarray(body.faces)
    pose_body = jax.jit(lambda model, params: model(params).vertices)
    of_picture: dict[int, list[int]] = {}
    for index, sighting in enumerate(sightings):
        of_picture.setdefault(sighting.picture.position, []).append(index)
    known = {picture.position: picture for picture in pictures}

    def drawn(image: np.ndarray, position: int) -> np.ndarray:
        picture = known[position]
        ids = of_picture.get(position, [])
        vertices = _vertices(pose_body, body, result, ids) if result is not None else []
        people = [
            _overlay_person(sightings[index], FitStatus(int(result.status[index])), posed, faces)
            for index, posed in zip(ids, vertices, strict=True)
            if result is not None
        ]
        return overlay.draw_overlay(
            image,
            people,
            focal_length=np.asarray(picture.camera.focal_length),
            principal_point=np.asarray(picture.camera.principal_point),
            renderer=renderer,
            style=style,
        )

    report("draw", 0, len(pictures))
    if media.kind == "video":
        path = output / "overlay.mp4"
        with overlay.VideoOverlayWriter(path, media.fps or 25.0, max_side=style.max_side * 2) as writer:
            for done, frame in enumerate(media.frames(stop=options.limit_frames), start=1):
                if frame.position in known:
                    writer.add(drawn(frame.image, frame.position), time_seconds=frame.time_seconds)
                report("draw", done, len(pictures))
        return
    shared_stems = collections.Counter(picture.source_path.stem for picture in pictures)
    for done, picture in enumerate(pictures, start=1):
        image = next(iter(video.open_media(picture.source_path).frames())).image
        path = output / "overlay" / f"{_stem(picture, shared_stems)}.png"
        path.parent.mkdir(exist_ok=True)
        overlay.write_png(path, drawn(image, picture.position))
        report("draw", done, len(pictures))


def _stem(picture: Picture, shared_stems: collections.Counter[str]) -> str:
    """File name of an overlay: the photo's stem, with its suffix and number where photos share a stem."""
    path = picture.source_path
    if shared_stems[path.stem] == 1:
        return path.stem
    return f"{path.stem}_{path.suffix.lstrip('.')}_{picture.position}"


def _vertices(
    pose_body: Callable[..., jax.Array], body: BodyModel, result: FitResult, ids: list[int]
) -> list[np.ndarray]:
    """Posed meshes of some people, a fixed number at a time so that one program serves all."""
    posed: list[np.ndarray] = []
    for first in range(0, len(ids), _DRAWING_BATCH):
        chunk = ids[first : first + _DRAWING_BATCH]
        padded = jnp.array(chunk + chunk[:1] * (_DRAWING_BATCH - len(chunk)))
        params = jax.tree.map(lambda leaf, rows=padded: leaf[rows], result.params)
        posed += list(np.asarray(pose_body(body, params))[: len(chunk)])
    return posed


def _overlay_person(
    sighting: Sighting, status: FitStatus, vertices: np.ndarray, faces: np.ndarray
) -> overlay.OverlayPerson:
    """A person to draw; a mesh only where the fit is usable."""
    is_usable = status.name not in schema.FAILED_STATUSES and bool(np.isfinite(vertices).all())
    return overlay.OverlayPerson(
        track_id=sighting.track_id,
        vertices_camera=vertices if is_usable else None,
        faces=faces if is_usable else None,
        keypoints_2d=sighting.keypoints_2d,
        confidence=sighting.confidence,
        bbox=sighting.bbox,
        text="" if is_usable else status.name,
    )


def _worst(rows: list[schema.LabelRow], count: int = 3) -> tuple[str, ...]:
    """The people to look at first, each as a phrase."""
    failed = [row for row in rows if not row.is_usable]
    poor = [row for row in rows if row.is_usable and (row.error_by_part["body"] or 0) > _POOR_ERROR]
    poor.sort(key=lambda row: -(row.error_by_part["body"] or 0))
    phrases = []
    for row in [*failed, *poor][:count]:
        place = f"{row.source_path} frame {row.frame_index}" if row.fps else row.source_path
        outcome = row.status if not row.is_usable else f"body {100 * (row.error_by_part['body'] or 0):.1f} %"
        phrases.append(f"{place}, person {row.track_id}: {outcome}")
    return tuple(phrases)


def _camera_uses(pictures: list[Picture]) -> tuple[CameraUse, ...]:
    """Pictures counted by where their camera comes from, the most frequent first."""
    counts = collections.Counter(picture.camera_source for picture in pictures)
    uses = []
    for source, count in counts.most_common():
        angles = [p.vertical_field_of_view_degrees for p in pictures if p.camera_source == source]
        uses.append(
            CameraUse(source=source, num_pictures=count, vertical_field_of_view_degrees=(min(angles), max(angles)))
        )
    return tuple(uses)


def _summarise(
    pictures: list[Picture],
    sightings: list[Sighting],
    rows: list[schema.LabelRow],
    record: provenance.RunRecord,
    warnings: tuple[str, ...],
) -> AnnotateSummary:
    """Counts and medians for the table at the end."""
    usable = [row for row in rows if row.is_usable]
    medians: dict[str, float | None] = {}
    for part in layouts.PARTS:
        errors = [error for row in usable if (error := row.error_by_part.get(part)) is not None]
        medians[part] = float(np.median(errors)) if errors else None
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    tracks = {(sighting.picture.source_path, sighting.track_id) for sighting in sightings}
    return AnnotateSummary(
        num_pictures=len(pictures),
        num_people=len(sightings),
        num_tracks=len(tracks),
        status_counts=counts,
        worst=_worst(rows),
        median_error_by_part=medians,
        cameras=_camera_uses(pictures),
        seconds_by_stage=dict(record.seconds),
        warnings=warnings,
    )
