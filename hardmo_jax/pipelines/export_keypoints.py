"""Measured keypoints of stored labels as files that other programs read: OpenPose's and COCO-WholeBody's.

Bodies are not exported: what was seen is, of the newest version of each label.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Literal, get_args

from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import keypoint_files
from hardmo_jax.perception.keypoint_files import FilePerson, FilePicture
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers

ExportFormat = Literal["openpose", "coco_wholebody"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

#: Folder of OpenPose's files, one a picture.
OPENPOSE_FOLDER = "openpose"
#: The one file of COCO-WholeBody.
COCO_FILE = "coco_wholebody.json"
_OWN_OUTPUTS = (OPENPOSE_FOLDER, COCO_FILE, "run.json")
_UNFINISHED = ".export-"


class ExportError(ValueError):
    """Labels that cannot be exported, or a folder that must not be replaced; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written."""

    path: pathlib.Path
    """The file, or the folder of files."""
    num_pictures: int
    num_people: int
    num_left_out: int
    """Labels of people of whom no keypoint was measured, as in filled frames."""


def check_export_format(name: str) -> ExportFormat:
    """A name of a format.

    Raises:
        ExportError: If there is none of that name; the valid ones are told.
    """
    for known in FORMATS:
        if name == known:
            return known
    raise ExportError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")


def export_keypoints(
    source: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    *,
    format_name: ExportFormat,
    command: tuple[str, ...] = (),
) -> ExportSummary:
    """Write the keypoints of stored labels for another program.

    Pictures keep their paths relative to what was labelled. Frames of a video are called as OpenPose calls them:
    `clip_000000000012_keypoints.json`, and `clip_000000000012.jpg` in COCO's file.

    Args:
        source: Label file, or folder of shards or of a run of `tools.annotate`.
        output_folder: Gets `openpose/` or `coco_wholebody.json`, and `run.json`. An earlier export is replaced.
        format_name: What is written.
        command: Command line, for `run.json`.

    Returns:
        Where it is, and counts.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
        ExportError: If the folder holds anything else than an earlier export, or two pictures would have one name.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If no file can be named after a picture.
    """
    labels, output = pathlib.Path(source), pathlib.Path(output_folder)
    if (labels / "labels.parquet").is_file():
        labels = labels / "labels.parquet"
    check_output_folder(
        output, labels, _OWN_OUTPUTS, job="export", source_lies=f"the labels {labels} lie", error=ExportError
    )
    sweep_leftovers(output.parent, _UNFINISHED)
    record = provenance.RunRecord(config={"format": format_name}, command=command)
    with record.stage("read"):
        rows = store.latest_labels(store.read_labels(labels).rows)
    people = _people_by_picture(rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
        folder = pathlib.Path(scratch)
        with record.stage("write"):
            if format_name == "openpose":
                name = OPENPOSE_FOLDER
                (folder / name).mkdir()
                for picture, own in people.items():
                    keypoint_files.write_openpose(folder / name, _without_suffix(picture), own)
            else:
                name = COCO_FILE
                everybody = [person for own in people.values() for person in own]
                keypoint_files.write_coco_wholebody(folder / name, tuple(people), everybody)
        num_people = sum(person.confidence.any() for own in people.values() for person in own)
        summary = ExportSummary(
            path=output / name,
            num_pictures=len(people),
            num_people=int(num_people),
            num_left_out=len(rows) - int(num_people),
        )
        record.add("labels", os.fspath(labels))
        if labels.is_file():
            record.add("labels_sha256", provenance.file_sha256(labels))
        counts = {"pictures": summary.num_pictures, "people": summary.num_people, "left_out": summary.num_left_out}
        record.add("exported", counts)
        record.write(folder / "run.json")
        replace_outputs(folder, output, _OWN_OUTPUTS)
    return summary


def _people_by_picture(rows: Sequence[LabelRow]) -> dict[FilePicture, list[FilePerson]]:
    """Everybody with a label, also those of whom nothing was seen, so that their pictures are not lost."""
    people: dict[FilePicture, list[FilePerson]] = {}
    sources: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        picture = _picture(row)
        source = row.source_path, row.source_sha256, row.frame_index
        # OpenPose's names have no suffix, and some disks no upper and lower case.
        key = _without_suffix(picture).casefold()
        other = sources.setdefault(key, source)
        if other != source:
            raise ExportError(
                f"two labelled pictures would be called {picture.name!r}: {other[0]!r} and {source[0]!r}; export the "
                "labels of each run by themselves"
            )
        people.setdefault(picture, []).append(
            FilePerson(
                picture=picture,
                keypoints_2d=row.keypoints_2d,
                confidence=row.keypoint_confidence,
                bbox=row.bbox,
                score=row.person_score,
                track_id=row.track_id,
                file_layout=row.keypoint_layout,
            )
        )
    return people


def _picture(row: LabelRow) -> FilePicture:
    """The picture of a label, under the name that its file gets."""
    text = row.source_path.replace("\\", "/")
    path = pathlib.PurePosixPath(text)
    if ".." in path.parts or path.is_absolute() or pathlib.PureWindowsPath(text).anchor:
        # Where it lies on somebody's disk is nobody's business.
        path = pathlib.PurePosixPath(path.name)
    if path.name in ("", ".."):
        raise ExportError(f"no file can be named after the labelled picture {row.source_path!r}")
    is_frame = row.fps is not None or row.time_seconds is not None
    name = path.with_name(f"{path.stem}_{row.frame_index:012d}.jpg") if is_frame else path
    return FilePicture(
        name=str(name),
        frame_index=row.frame_index if is_frame else None,
        width=row.image_width,
        height=row.image_height,
    )


def _without_suffix(picture: FilePicture) -> str:
    return str(pathlib.PurePosixPath(str(picture.name)).with_suffix(""))
