"""Labels, or files of motion, as files of other programs: one job for all formats.

Every format has one name in the output folder, a file or a folder. An export replaces those that it writes and leaves
the other formats that lie there; nothing foreign is touched.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.export.dataset.dataset_facts import DatasetWords
from hardmo_jax.export.motion.scene_motion import SceneMotion
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.export.training_sets.training_labels import TrainingLabelOptions
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports import (
    convert_labels,
    export_dataset,
    export_keypoints,
    export_motions,
    export_training,
    label_motions,
    motion_files,
)
from hardmo_jax.pipelines.exports.dataset_pixels import check_pictures
from hardmo_jax.pipelines.exports.export_keypoints import KEYPOINT_FORMATS
from hardmo_jax.pipelines.exports.export_motions import MOTION_FORMATS, Progress, TrackReport
from hardmo_jax.pipelines.exports.export_training import TRAINING_FORMATS, needs_pictures
from hardmo_jax.pipelines.exports.label_motions import MotionOptions
from hardmo_jax.pipelines.label_rows import name_of_body
from hardmo_jax.pipelines.labelled_pictures import picture_root
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers

#: What each format is called in the output folder.
OUTPUTS: dict[str, str] = {
    **{name: name for name in (*MOTION_FORMATS, *TRAINING_FORMATS)},
    "openpose": "openpose",
    "coco_wholebody": "coco_wholebody.json",
    "hf": "hf",
}
_RECORD = "run.json"
_UNFINISHED = ".export-"
_MOTION_SUFFIXES = (".npz", ".bvh")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How labels are exported."""

    body: str | None = None
    """File of the body model of the labels, or `open_body`; None where there is no other."""
    to_body: str | None = None
    """File of the body model, or `open_body`, that labels are converted to; None leaves them as they are."""
    vertex_map: str | None = None
    """File of a transfer matrix between both meshes; None compares what both have."""
    motion: MotionOptions = dataclasses.field(default_factory=MotionOptions)
    """How labels become motion."""
    pictures: str | None = None
    """Folder that the paths of pictures are relative to; None takes what the run that made the labels looked at."""
    training: TrainingLabelOptions = dataclasses.field(default_factory=TrainingLabelOptions)
    """Which labels others are to learn from."""
    with_pixels: bool = False
    """Whether a data set holds pictures."""
    allow_unknown_licence: bool = False
    """Also pictures whose licence labels do not tell."""
    words: DatasetWords = dataclasses.field(default_factory=DatasetWords)
    """What is told of a data set that labels cannot tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormatReport:
    """What was written in one format."""

    format_name: str
    path: pathlib.Path
    """The file, or the folder of files."""
    num_files: int
    num_people: int
    """People in pictures, or tracks."""
    notes: tuple[str, ...] = ()
    """What its user should know."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export did."""

    formats: tuple[FormatReport, ...]
    tracks: tuple[TrackReport, ...]
    """Of formats of motion; empty without any."""
    notes: tuple[str, ...]
    """What became of labels that were not exported, and what was assumed of the others."""


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Names of formats, each once.

    Raises:
        ExportError: If there is none, or one that is not known; the valid ones are told.
    """
    chosen = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    unknown = [name for name in chosen if name not in OUTPUTS]
    if unknown or not chosen:
        found = f"unknown format {unknown[0]!r}" if unknown else "no format is named"
        raise ExportError(f"{found}; known: {', '.join(OUTPUTS)}; several are given as --format=glb,bvh")
    return chosen


def export_labels(
    source: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    formats: Sequence[str],
    *,
    options: ExportOptions,
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> ExportSummary:
    """Write labels, or a file of motion, in other programs' formats.

    Args:
        source: Label file; folder of shards or of a run of `tools.annotate`; or an `.npz` or `.bvh` file of motion.
        output_folder: Gets one file or folder a format, and `run.json`.
        formats: Names, of `OUTPUTS`.
        options: How.
        command: Command line, for `run.json`.
        progress: Called as work goes on.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
        ExportError: If the folder holds anything else than earlier exports, or labels cannot be written in a format.
    """
    report = progress or (lambda stage, done, total: None)
    chosen = check_formats(formats)
    path, output = _labels_path(pathlib.Path(source)), pathlib.Path(output_folder)
    known = (*OUTPUTS.values(), _RECORD)
    check_output_folder(output, path, known, job="export", source_lies=f"{path} lies", error=ExportError)
    sweep_leftovers(output.parent, _UNFINISHED)
    record = provenance.RunRecord(config={"formats": chosen, **dataclasses.asdict(options)}, command=command)
    with record.stage("read"):
        content = _read(path, chosen, options)
    export_motions.check_motion(content.scenes, [name for name in chosen if name in MOTION_FORMATS])
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
        folder = pathlib.Path(scratch)
        written = []
        for name in chosen:
            with record.stage(name):
                one = _write(folder / OUTPUTS[name], name, content, options, command, report)
            written.append(dataclasses.replace(one, path=output / OUTPUTS[name]))
        with record.stage("slide"):
            tracks = export_motions.reports_of(content.scenes)
        record.add("source", os.fspath(path))
        if path.is_file():
            record.add("source_sha256", provenance.file_sha256(path))
        record.add("exported", {one.format_name: {"files": one.num_files, "people": one.num_people} for one in written})
        if content.conversion is not None:
            record.add("conversion", {"told": content.conversion.told, "errors_mm": content.conversion.errors_mm})
        record.write(folder / _RECORD)
        replace_outputs(folder, output, (*(OUTPUTS[name] for name in chosen), _RECORD))
    return ExportSummary(formats=tuple(written), tracks=tuple(tracks), notes=tuple(content.notes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Conversion:
    """How near another body came."""

    told: str
    errors_mm: list[float]
    """Of each label or frame."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Content:
    """What is exported: labels, and their motion where a format of motion is asked for."""

    path: pathlib.Path
    """Of the labels."""
    rows: Sequence[LabelRow]
    scenes: Sequence[SceneMotion]
    notes: Sequence[str]
    pictures: pathlib.Path | None
    """Folder that the paths of pictures are relative to, where it is known."""
    conversion: _Conversion | None = None
    """None where all is of the body that it was."""


def _labels_path(source: pathlib.Path) -> pathlib.Path:
    if (source / "labels.parquet").is_file():
        return source / "labels.parquet"
    if source.is_dir() and not any(source.glob("*.parquet")):
        below = sorted(path.parent.name for path in source.glob("*/labels.parquet"))
        if below:
            raise ExportError(
                f"{source}: holds the labels of {len(below)} inputs, in a folder each; give one of them, such as "
                f"--labels={source / below[0]}"
            )
    return source


def _read(path: pathlib.Path, chosen: Sequence[str], options: ExportOptions) -> _Content:
    target = None if options.to_body is None else _body_called(options.to_body)
    vertex_map = None if options.vertex_map is None else pathlib.Path(options.vertex_map)
    if path.suffix.lower() in _MOTION_SUFFIXES and path.is_file():
        return _read_motion(path, chosen, options, target, vertex_map)
    rows: Sequence[LabelRow] = store.latest_labels(store.read_labels(path).rows)
    if not rows:
        raise ExportError(f"{path}: holds no label; nothing can be exported")
    pictures = picture_root(path, options.pictures)
    if any(needs_pictures(name) for name in chosen) or (options.with_pixels and "hf" in chosen):
        if pictures is None:
            raise ExportError(f"{path}: nothing tells where the pictures of these labels are; give --pictures=FOLDER")
        check_pictures(rows, pictures)
    if target is None and not any(name in MOTION_FORMATS for name in chosen):
        return _Content(path=path, rows=rows, scenes=(), notes=(), pictures=pictures)
    body, own = _of_one_body(rows, options.body, path)
    notes = [f"{len(rows) - len(own)} labels of other bodies were left out"] if len(own) < len(rows) else []
    conversion = None
    if target is not None:
        usable = [row for row in own if row.is_usable]
        if not usable:
            raise ExportError(f"{path}: none of {len(own)} labels has a usable pose, so that none can be converted")
        found = convert_labels.convert_labels(usable, body, target, vertex_map=vertex_map)
        conversion = _conversion(name_of_body(body), name_of_body(target), found.matched_by, found.mean_error)
        notes.append(conversion.told)
        if len(usable) < len(own):
            notes.append(f"{len(own) - len(usable)} labels without a usable pose were left out")
        rows = own = found.rows
        body = target
    scenes: Sequence[SceneMotion] = ()
    if any(name in MOTION_FORMATS for name in chosen):
        motions = label_motions.scenes_of_labels(own, body, options.motion)
        scenes = motions.scenes
        notes += _notes(motions)
    return _Content(
        path=path, rows=rows, scenes=scenes, notes=notes, pictures=pictures, conversion=conversion
    )  # fmt: skip


def _read_motion(
    path: pathlib.Path,
    chosen: Sequence[str],
    options: ExportOptions,
    target: BodyModel | None,
    vertex_map: pathlib.Path | None,
) -> _Content:
    others = [name for name in chosen if name not in MOTION_FORMATS]
    if others:
        raise ExportError(
            f"{path}: is a file of motion, of which nothing was seen in pictures, so that {others[0]} cannot be "
            f"written; it can be as {', '.join(MOTION_FORMATS)}"
        )
    body = None if options.body is None else _body_called(options.body)
    scene = motion_files.read_scene(path, body=body, frames_per_second=options.motion.frames_per_second)
    if target is None:
        return _Content(path=path, rows=(), scenes=(scene,), notes=(), pictures=None)
    converted, errors, matched_by = convert_labels.convert_scene(scene, target, vertex_map=vertex_map)
    conversion = _conversion(scene.body_name, name_of_body(target), matched_by, errors)
    return _Content(
        path=path, rows=(), scenes=(converted,), notes=(conversion.told,), pictures=None, conversion=conversion
    )


def _body_called(name: str) -> BodyModel:
    return load.open_body() if name == "open_body" else load.load_body(name)


def _conversion(source: str, target: str, matched_by: str, errors: Float[np.ndarray, "N"]) -> _Conversion:
    finite = 1000 * errors[np.isfinite(errors)]
    told = {"mesh": "all vertices", "map": "the vertex map", "landmarks": "joints and landmarks"}[matched_by]
    if not len(finite):
        raise ExportError(f"no label of {source} could be converted to {target}: their numbers are not finite")
    return _Conversion(
        told=(
            f"converted from {source} to {target} by {told}: mean error {finite.mean():.1f} mm, worst frame "
            f"{finite.max():.1f} mm"
        ),
        errors_mm=[round(float(error), 3) for error in 1000 * errors],
    )


def _of_one_body(
    rows: Sequence[LabelRow], given: str | None, path: pathlib.Path
) -> tuple[BodyModel, Sequence[LabelRow]]:
    """The body of labels, and those that are of it."""
    counts = Counter((row.body_model, row.body_model_sha256) for row in rows)
    name, checksum = counts.most_common(1)[0][0]
    if given is None and len(counts) > 1:
        raise ExportError(
            f"{path}: labels of {len(counts)} body models in one store: {_listed(counts)}; say which are exported "
            "with --body, the file of one of them, or open_body"
        )
    if given is None and not name.startswith("open_body_"):
        raise ExportError(
            f"{path}: labels are of the body {name} ({checksum[:12]}); give its file, such as "
            f"--body=body_models/{name}.npz"
        )
    bodies = (
        [load.open_body(), load.open_body(view="smpl")] if given in (None, "open_body") else [load.load_body(given)]
    )
    for body in bodies:
        own = [row for row in rows if (row.body_model, row.body_model_sha256) == (name_of_body(body), body.checksum)]
        if own:
            return body, own
    raise ExportError(
        f"{path}: no label is of the body {given or 'open_body'} ({bodies[0].checksum[:12]}); there are "
        f"{_listed(counts)}"
    )


def _listed(counts: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({checksum[:12]}): {count}" for (name, checksum), count in counts.most_common())


def _notes(motions: label_motions.LabelMotions) -> list[str]:
    found = [
        (motions.num_failed, "labels without a usable pose were left out"),
        (motions.num_rejected, "rejected labels were left out"),
        (motions.num_off_grid, "labels of uneven times were left out, nearer ones taken"),
        (motions.num_interpolated, "frames of people without a label were interpolated between their neighbours"),
        (motions.num_shapes, "tracks had labels of several shapes; the mean shape is written"),
    ]
    notes = [f"{count} {text}" for count, text in found if count]
    laid = sum(scene.floor == "lowest_point" for scene in motions.scenes)
    if laid:
        notes.append(
            f"no floor is known in {laid} of {len(motions.scenes)} pictures or videos: their camera is taken as level, "
            "and the floor laid under the lowest point"
        )
    return notes


def _write(
    path: pathlib.Path,
    name: str,
    content: _Content,
    options: ExportOptions,
    command: tuple[str, ...],
    progress: Progress,
) -> FormatReport:
    common: dict[str, Any] = {"format_name": name, "path": path}
    if name in MOTION_FORMATS:
        files = export_motions.write_motions(path, content.scenes, name, progress=progress)
        num_people = sum(len(scene.tracks) for scene in content.scenes)
        return FormatReport(**common, num_files=len(files), num_people=num_people)
    if name in TRAINING_FORMATS:
        made = export_training.write_training(
            path, content.rows, name, pictures=content.pictures, options=options.training, progress=progress
        )
        return FormatReport(**common, num_files=made.num_files, num_people=made.export.num_people, notes=made.notes)
    if name == "hf":
        source = content.path
        if content.conversion is not None:
            # Beside the outputs: it stays behind in the scratch folder.
            source = store.write_labels(path.parent / "converted" / "labels.parquet", content.rows)
        dataset = export_dataset.export_dataset(
            source, path, pictures=content.pictures, with_pixels=options.with_pixels,
            allow_unknown_licence=options.allow_unknown_licence, words=options.words, command=command,
            progress=progress,
        )  # fmt: skip
        return FormatReport(
            **common, num_files=len(dataset.shards), num_people=dataset.facts.num_labels, notes=dataset.warnings
        )
    for known in KEYPOINT_FORMATS:
        if name == known:
            counts = export_keypoints.write_keypoints(path, content.rows, known)
            notes = (
                (f"{counts.num_left_out} labels were left out: no keypoint of theirs was measured",)
                if counts.num_left_out
                else ()
            )
            num_files = counts.num_pictures if path.is_dir() else 1
            return FormatReport(**common, num_files=num_files, num_people=counts.num_people, notes=notes)
    raise ExportError(f"unknown format {name!r}; known: {', '.join(OUTPUTS)}")
