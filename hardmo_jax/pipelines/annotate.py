"""The Normal Annotation stage: photos, video or keypoint files to SMPL labels, a table of them and pictures.

Pixels → perception → observations → fit → labels → overlays. Reading, looking, fitting and drawing go on side by side:
while one shot of a video is looked at the one before it is fitted, and that before drawn. Pictures are decoded twice
(once to look at people, once to draw on them) instead of held, so memory does not grow with the length of a video.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hardmo_jax
from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels import provenance, store
from hardmo_jax.networks.regressor_file import read_record
from hardmo_jax.perception import load_source, model_files, video
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.perception.read_ahead import read_ahead
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines.annotate_cameras import CameraOptions, exif_warning
from hardmo_jax.pipelines.annotate_drawing import OutputOptions, OverlayDrawer
from hardmo_jax.pipelines.annotate_input import open_input
from hardmo_jax.pipelines.annotate_options import AnnotateOptions, BodyOptions, load_body_option
from hardmo_jax.pipelines.annotate_summary import AnnotateSummary, summarise
from hardmo_jax.pipelines.annotate_takes import LabelledTake, is_over_time, label_take
from hardmo_jax.pipelines.box_quality import LeftOut
from hardmo_jax.pipelines.output_folders import OutputFolderError, check_output_folder, replace_outputs, sweep_leftovers
from hardmo_jax.pipelines.perceiving import perceive, unsure_warning
from hardmo_jax.pipelines.regress_people import PeopleRegressor, check_network, network_record
from hardmo_jax.pipelines.shared_store import held_store
from hardmo_jax.pipelines.sightings import Picture, relative_source
from hardmo_jax.pipelines.stage_rates import StageClock
from hardmo_jax.pipelines.warm_up import warm_up
from hardmo_jax.rendering import raster

__all__ = [
    "AnnotateOptions", "AnnotateSummary", "BodyOptions", "CameraOptions", "OutputFolderError", "OutputOptions",
    "annotate", "learnt_files", "load_body_option",
]  # fmt: skip

#: Takes that wait for the next stage.
_TAKES_AHEAD = 16
#: Called as work goes on: stage, units done, units in all (None if unknown).
Progress = Callable[[str, int, int | None], None]

#: In the order of a frame's way through them.
_STAGES = ("decode", "perceive", "regress", "camera", "fit", "label", "score", "decode again", "draw", "write")
#: `report.html` is made of the others: of an earlier run it would tell of labels that are no more.
_OWN_OUTPUTS = ("labels.parquet", "overlay.mp4", "overlay", "report.html", "run.json")
_UNFINISHED = ".annotate-"


class _StoppedError(Exception):
    """The job was stopped while a stage was at work."""


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
        _check_replaceable(output / "labels.parquet")
    # Everything that can be wrong with the request is found before any work is done.
    body = load_body_option(options.body)
    if options.initialise.network != "none":
        check_network(options.initialise)
    opened = open_input(source, options)
    media, files = opened.media, opened.bodies
    people_source = opened.people_source(options, model_folder)
    for own in load_source.own_files(options.perception, model_folder, with_bodies=files is None):
        record.add_file(own.name, own)
    regressor = (
        None
        if options.initialise.network == "none"
        else PeopleRegressor(options.initialise, body, camera=options.camera, seed=options.seed)
    )
    renderer = raster.choose_renderer(options.output.renderer) if options.output.overlay else None

    # Work goes into a folder beside the goal and is moved there when it is complete: a run that fails or is
    # stopped leaves the earlier one as it was.
    output.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(output.parent, _UNFINISHED)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
        summary = _annotate_into(
            pathlib.Path(scratch),
            media,
            body,
            people_source,
            regressor,
            renderer,
            options,
            pathlib.Path(model_folder),
            record,
            report,
        )
        _replace_run(pathlib.Path(scratch), output)
    return summary


def _check_replaceable(labels: pathlib.Path) -> None:
    """Refuse to replace what a person said.

    Raises:
        OutputFolderError: If a label was made or reviewed by a person, or one of its parts.
    """
    if any(row.was_looked_at for row in store.read_labels(labels).rows):
        raise OutputFolderError(
            f"{labels.parent} holds labels that a person made or reviewed; give another --output_dir and merge "
            "afterwards"
        )


def _replace_run(scratch: pathlib.Path, output: pathlib.Path) -> None:
    """Put a finished run in the place of an earlier one, unless a person looked at that meanwhile.

    Raises:
        OutputFolderError: If so; the run is kept beside it.
    """
    labels = output / "labels.parquet"
    if not labels.is_file():
        replace_outputs(scratch, output, _OWN_OUTPUTS)
        return
    with held_store(labels):
        try:
            _check_replaceable(labels)
        except OutputFolderError as error:
            kept = output.with_name(f"{output.name}-{scratch.name.removeprefix(_UNFINISHED)}")
            replace_outputs(scratch, kept, _OWN_OUTPUTS)
            raise OutputFolderError(f"{error}; that was during this run, which is in {kept}") from error
        replace_outputs(scratch, output, _OWN_OUTPUTS)


def _annotate_into(
    output: pathlib.Path,
    media: video.Media,
    body: BodyModel,
    people_source: PeopleSource,
    regressor: PeopleRegressor | None,
    renderer: raster.Renderer | None,
    options: AnnotateOptions,
    model_folder: pathlib.Path,
    record: provenance.RunRecord,
    report: Progress,
) -> AnnotateSummary:
    """The stations of the job: looking and fitting in threads, drawing here, where the renderer was made."""
    clock, start = StageClock(_STAGES), time.perf_counter()
    progress = _Progress(report)
    has_somebody: concurrent.futures.Future[bool] = concurrent.futures.Future()
    takes = perceive(
        media,
        people_source,
        # Whoever says how the camera stands is not contradicted.
        watch_camera=is_over_time(media, options) and options.fit.camera_is_fixed == "auto",
        quality=options.quality,
        limit_frames=options.limit_frames,
        regressor=regressor,
        has_somebody=has_somebody,
        clock=clock,
        report=progress,
        longest_take=options.fit.longest_take,
    )
    finished: list[LabelledTake] = []
    with contextlib.ExitStack() as stack:
        looked_at = stack.enter_context(contextlib.closing(read_ahead(takes, _TAKES_AHEAD)))

        def warm() -> None:
            # Where nobody is nothing need be loaded.
            if has_somebody.result():
                warm_up(media, body, options, clock, progress)

        def labels() -> Iterator[LabelledTake]:
            with concurrent.futures.ThreadPoolExecutor(1, "warm-up") as warmer:
                warming = warmer.submit(warm)
                for take in looked_at:
                    warming.result()
                    yield label_take(
                        take,
                        media=media,
                        body=body,
                        options=options,
                        packed=output / "packed",
                        density=None if regressor is None else regressor.density,
                        clock=clock,
                        report=progress.of_take(),
                    )

        ready = stack.enter_context(contextlib.closing(read_ahead(labels(), _TAKES_AHEAD)))
        stack.callback(progress.stop)
        drawer = None
        if renderer is not None:
            drawer = stack.enter_context(
                OverlayDrawer(
                    media, body, renderer, options.output, output,
                    limit_frames=options.limit_frames, clock=clock, report=progress,
                )
            )  # fmt: skip
        for one in ready:
            if drawer is not None:
                drawer.draw(one.pictures, one.sightings, one.result)
            # What was drawn is no longer needed.
            finished.append(dataclasses.replace(one, sightings=[], result=None))
        if not finished:
            told = [*media.warnings, *people_source.warnings]
            raise video.MediaError(f"{media.path}: none of its pictures can be read; {'; '.join(told[:3])}")
    progress.end()
    with clock.at("write"):
        store.write_packed(output / "labels.parquet", [piece for take in finished for piece in take.labels])
    notes = [note for take in finished for note in take.notes]
    pictures = [picture for take in finished for picture in take.pictures]
    warnings = [*media.warnings, *people_source.warnings, *_warnings(media, finished, options)]
    if renderer is not None:
        record.add("renderer", renderer.name)
        if renderer.reason:
            warnings.append(f"drawn without OpenGL: {renderer.reason}")
    left_out = _all_left_out(finished)
    advice = advice_if_nobody(people_source.source, options.perception)
    if left_out.num_people:
        advice = f"{left_out.phrase}; --config.quality.drop=() keeps them"
    announced = min(media.frame_count or 0, options.limit_frames or sys.maxsize)
    num_unread = max(announced - len(pictures), 0) if media.kind == "folder" else 0
    summary = summarise(
        pictures,
        notes,
        stages=clock.rates(len(pictures)),
        seconds=time.perf_counter() - start,
        warnings=warnings,
        camera_motion=[take.camera for take in finished if take.camera is not None],
        advice=advice,
        left_out=left_out,
        num_unusable=num_unread + media.num_left_out + len(people_source.unusable),
    )
    record.seconds.update(clock.seconds)
    record.add("warnings", warnings)
    if regressor is not None:
        record.add("network", network_record(regressor.record))
    _fill_record(record, media, body, options, pictures, finished, model_folder, summary)
    record.write(output / "run.json")
    return summary


class _Progress:
    """Reports of stages that work beside each other, take by take; it raises in those that are to stop."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._is_stopped = False
        self._before: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Of a stage that counts over all takes."""
        with self._lock:
            if self._is_stopped:
                raise _StoppedError
            self._done[stage] = done
            self._report(stage, done, total)

    def of_take(self) -> Progress:
        """Of the stages of the next take, which count from 0 again."""
        before = Counter(self._done)

        def report(stage: str, done: int, total: int | None) -> None:
            del total  # of this take: how many there will be in all is not known before the end
            self(stage, before[stage] + done, None)

        return report

    def end(self) -> None:
        """All is done that there was."""
        for stage, done in self._done.items():
            if done:
                self._report(stage, done, done)

    def stop(self) -> None:
        """The next report ends the stage that makes it."""
        with self._lock:
            self._is_stopped = True


def _warnings(media: video.Media, finished: Sequence[LabelledTake], options: AnnotateOptions) -> list[str]:
    """What was told of takes, each thing once; of a video with cuts also of which shot."""
    found: dict[str, None] = {}
    unsure = [one for take in finished for one in take.unsure]
    if unsure:
        found[unsure_warning(unsure)] = None
    exif = exif_warning([picture for take in finished for picture in take.pictures], options.camera)
    if exif is not None:
        found[exif] = None
    num_from_lifter = sum(take.num_from_lifter for take in finished)
    if num_from_lifter:
        found[
            f"{num_from_lifter} of {sum(len(take.notes) for take in finished)} people start from the lifter's guess: "
            f"{options.initialise.network} said nothing of them, or the fit from its answer explains their keypoints "
            "much worse"
        ] = None
    counts = Counter(warning for take in finished for warning in set(take.warnings))
    for take in finished:
        for warning in take.warnings:
            is_of_one = media.kind == "video" and len(finished) > 1 and counts[warning] == 1
            place = f"shot from frame {take.pictures[0].frame_index}: " if is_of_one else ""
            found[place + warning] = None
    return list(found)


def _all_left_out(finished: Sequence[LabelledTake]) -> LeftOut:
    """Who is left out of any take."""
    reasons: Counter[str] = Counter()
    for take in finished:
        reasons.update(take.left_out.by_reason)
    return LeftOut(num_people=sum(take.left_out.num_people for take in finished), by_reason=dict(reasons))


def _fill_record(
    record: provenance.RunRecord,
    media: video.Media,
    body: BodyModel,
    options: AnnotateOptions,
    pictures: Sequence[Picture],
    finished: Sequence[LabelledTake],
    model_folder: pathlib.Path,
    summary: AnnotateSummary,
) -> None:
    """What `run.json` says of the whole job."""
    record.add("body_model", {"name": body.name, "sha256": body.checksum})
    for name, file in model_files.MODEL_FILES.items():
        if name not in model_files.missing_models(model_folder):
            record.add_file(file.name, model_folder / file.name, sha256=file.sha256)
    record.add("depends_on", depends_on(options, body))
    if media.kind == "video":
        record.add(
            "shots",
            [{"first_frame": take.pictures[0].frame_index, "num_frames": len(take.pictures), **take.record}
             for take in finished],
        )  # fmt: skip
    record.add("sources", {relative_source(media, picture): picture.source_sha256 for picture in pictures})
    record.add(
        "rates",
        {
            "seconds": summary.seconds,
            "frames_per_second": summary.num_pictures / summary.seconds,
            "stages": {rate.stage: rate.frames_per_second for rate in summary.stages},
        },
    )
    record.add("cameras", [dataclasses.asdict(use) for use in summary.cameras])
    counts = {"people": summary.num_people, "filled": summary.num_filled, "unfilled": summary.num_unfilled,
              "unusable": summary.num_unusable}  # fmt: skip
    record.add("summary", {**counts, "status": summary.status_counts})
    record.add("quality", {"reasons": summary.reason_counts, "left_out": dataclasses.asdict(summary.left_out)})


def depends_on(options: AnnotateOptions, body: BodyModel) -> dict[str, Any]:
    """Checksums of all that labels depend on beside the pictures and the files of `load_source.own_files`."""
    found: dict[str, Any] = {
        "body": body.checksum,
        "learnt": {path.name: provenance.file_sha256(path) for path in learnt_files()},
    }
    if options.initialise.checkpoint is not None:
        found["network"] = read_record(options.initialise.checkpoint).source_sha256
    keypoints = options.perception.keypoints_file
    if keypoints is not None and pathlib.Path(keypoints).is_dir():
        files = sorted(path for path in pathlib.Path(keypoints).rglob("*.json") if path.is_file())
        digests = [f"{path.relative_to(keypoints).as_posix()} {provenance.file_sha256(path)}" for path in files]
        found["keypoints"] = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return found


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


def advice_if_nobody(source: str, options: PerceptionOptions) -> str:
    """What has not been tried where nobody was found."""
    if source.startswith("file:"):
        return "nobody was found: the files of keypoints hold nobody with a confident point"
    if options.turned == "never":
        return "nobody was found upright; --config.perception.turned=when_empty looks for people upside down too"
    return "nobody was found, upright or upside down; crop closer to the people, or take larger or brighter pictures"
