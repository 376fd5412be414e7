"""Labels, or files of motion, as files of other programs: one job for all formats.

Every format has one name in the output folder, a file or a folder. An export replaces those that it writes and leaves
the other formats that lie there; nothing foreign is touched.
"""

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels import provenance
from hardmo_jax.pipelines.exports import (
    export_dataset,
    export_keypoints,
    export_motions,
    export_training,
)
from hardmo_jax.pipelines.exports.export_content import ExportContent, labels_path, read_content
from hardmo_jax.pipelines.exports.export_keypoints import KEYPOINT_FORMATS
from hardmo_jax.pipelines.exports.export_motions import MOTION_FORMATS, Progress, TrackReport
from hardmo_jax.pipelines.exports.export_options import ENDINGS, OUTPUTS, ExportOptions, check_formats
from hardmo_jax.pipelines.exports.export_training import TRAINING_FORMATS
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers

_RECORD = "run.json"
_UNFINISHED = ".export-"


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
    path, output = labels_path(pathlib.Path(source)), pathlib.Path(output_folder)
    known = (*OUTPUTS.values(), _RECORD)
    check_output_folder(output, path, known, job="export", source_lies=f"{path} lies", error=ExportError)
    _check_own(output, chosen)
    sweep_leftovers(output.parent, _UNFINISHED)
    record = provenance.RunRecord(config={"formats": chosen, **dataclasses.asdict(options)}, command=command)
    with record.stage("read"):
        content = read_content(path, chosen, options)
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
            tracks = export_motions.reports_of(content.scenes, progress=report)
        source_of = {"source": os.fspath(path)}
        if path.is_file():
            source_of["source_sha256"] = provenance.file_sha256(path)
        told = {one.format_name: {"files": one.num_files, "people": one.num_people, **source_of} for one in written}
        record.add("exported", {**_recorded(output), **told})
        if content.conversion is not None:
            record.add("conversion", {"told": content.conversion.told, "errors_mm": content.conversion.errors_mm})
        record.write(folder / _RECORD)
        replace_outputs(folder, output, (*(OUTPUTS[name] for name in chosen), _RECORD))
    return ExportSummary(formats=tuple(written), tracks=tuple(tracks), notes=tuple(content.notes))


def _recorded(output: pathlib.Path) -> dict[str, Any]:
    """What the record of earlier exports says of formats that are still there."""
    try:
        exported = json.loads((output / _RECORD).read_text(encoding="utf-8"))["results"]["exported"]
        return {name: told for name, told in exported.items() if name in OUTPUTS and (output / OUTPUTS[name]).exists()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _check_own(output: pathlib.Path, chosen: Sequence[str]) -> None:
    """Refuse to replace what no export wrote: a folder of the same name, or a scene saved beside exported files."""
    known = _recorded(output)
    for name in chosen:
        path = output / OUTPUTS[name]
        if not path.exists():
            continue
        if name not in known:
            raise ExportError(
                f"{path} is there, and {output / _RECORD} tells of no export that wrote it; give another --output_dir"
            )
        for found in path.rglob("*") if path.is_dir() else ():
            if found.is_file() and found.suffix.lower() not in ENDINGS[name]:
                raise ExportError(
                    f"{found} was not written by an export, which would replace its folder; move it away, or give "
                    "another --output_dir"
                )


def _write(
    path: pathlib.Path,
    name: str,
    content: ExportContent,
    options: ExportOptions,
    command: tuple[str, ...],
    progress: Progress,
) -> FormatReport:
    common: dict[str, Any] = {"format_name": name, "path": path}
    rows = content.labels.rows
    if name in MOTION_FORMATS:
        files = export_motions.write_motions(path, content.scenes, name, progress=progress)
        num_people = sum(len(scene.tracks) for scene in content.scenes)
        note = export_motions.skinning_note(content.scenes) if name == "glb" else None
        return FormatReport(**common, num_files=len(files), num_people=num_people, notes=(note,) if note else ())
    if name in TRAINING_FORMATS:
        made = export_training.write_training(
            path,
            rows,
            name,
            pictures=content.pictures or path,
            options=options.training,
            progress=progress,
        )
        return FormatReport(**common, num_files=made.num_files, num_people=made.export.num_people, notes=made.notes)
    if name == "hf":
        dataset = export_dataset.export_dataset(
            content.path, path, found=content.labels,
            pictures=content.pictures, with_pixels=options.with_pixels,
            allow_unknown_licence=options.allow_unknown_licence, words=options.words, command=command,
            progress=progress,
        )  # fmt: skip
        return FormatReport(
            **common, num_files=len(dataset.shards), num_people=dataset.facts.num_labels, notes=dataset.warnings
        )
    for known in KEYPOINT_FORMATS:
        if name == known:
            counts = export_keypoints.write_keypoints(path, rows, known)
            notes = (
                (f"{counts.num_left_out} labels were left out: no keypoint of theirs was measured",)
                if counts.num_left_out
                else ()
            )
            num_files = counts.num_pictures if path.is_dir() else 1
            return FormatReport(**common, num_files=num_files, num_people=counts.num_people, notes=notes)
    raise ExportError(f"unknown format {name!r}; known: {', '.join(OUTPUTS)}")
