"""Labels as a data set that can be published: Parquet shards, a card, Croissant metadata, checksums and a record.

The layout is the one of the Hugging Face Hub. Pictures are in it only where asked for, where their licence is known,
and where they are those that were labelled.
"""

import dataclasses
import datetime
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from hardmo_jax.export.dataset.croissant import write_croissant
from hardmo_jax.export.dataset.dataset_card import write_dataset_card
from hardmo_jax.export.dataset.dataset_facts import (
    DatasetExportError,
    DatasetFacts,
    DatasetWords,
    dataset_facts,
    has_licence,
    public_label,
)
from hardmo_jax.export.dataset.dataset_files import DatasetShard, DatasetWriter
from hardmo_jax.export.dataset.dataset_folder import DATASET_OUTPUTS, RECORD_FILE, exported_counts, write_checksums
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.store_places import labels_below
from hardmo_jax.pipelines.exports.dataset_pixels import check_licences, check_pictures, pictures_of_rows
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers
from hardmo_jax.whole_files import file_sha256

_UNFINISHED = ".dataset-"

Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What was written."""

    path: pathlib.Path
    """Folder of the data set."""
    facts: DatasetFacts
    shards: tuple[DatasetShard, ...]
    num_old_versions: int
    """Labels left out since newer versions replaced them."""
    unknown_columns: tuple[str, ...]
    """Columns that are none of this program's, and were left out."""
    warnings: tuple[str, ...]


def export_dataset(
    source: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    *,
    found: store.LabelSet | None = None,
    pictures: str | os.PathLike[str] | None = None,
    with_pixels: bool = False,
    allow_unknown_licence: bool = False,
    words: DatasetWords | None = None,
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> DatasetSummary:
    """Write the newest version of each label as a data set.

    Args:
        source: Label file, or folder of shards or of a run of `tools.annotate`.
        output_folder: Gets `data/`, `README.md`, `croissant.json`, `SHA256SUMS` and `run.json`. An earlier export is
            replaced.
        found: What is exported of the source, where it was read before; None reads it.
        pictures: Folder that the paths of pictures in the labels are relative to; needed for pixels.
        with_pixels: Put the picture into each row.
        allow_unknown_licence: Also pictures whose licence the labels do not tell.
        words: Name, licence and what else the labels cannot tell.
        command: Command line, for `run.json`.
        progress: Told `write`, rows written, and of how many.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
        DatasetExportError: If there is none, pictures are missing, other ones or of unknown licence, or the folder
            holds anything else than an earlier export.
        hardmo_jax.perception.video.MediaError: If a picture cannot be read.
    """
    report = progress or (lambda stage, done, total: None)
    words = words or DatasetWords()
    labels, output = labels_below(source), pathlib.Path(output_folder)
    check_output_folder(
        output, labels, DATASET_OUTPUTS, job="export", source_lies=f"the labels {labels} lie", error=DatasetExportError
    )
    config: dict[str, Any] = {
        "format": "hf",
        "with_pixels": with_pixels,
        "allow_unknown_licence": allow_unknown_licence,
    }
    config |= {"words": dataclasses.asdict(words)}
    record = provenance.RunRecord(config=config, command=tuple(map(_without_folders, command)))
    with record.stage("read"):
        found = store.read_labels(labels) if found is None else found
        rows = _in_order(store.latest_labels(found.rows))
    if not rows:
        raise DatasetExportError(f"{labels}: holds no labels, of which no data set can be made")
    folder = None
    if with_pixels:
        if pictures is None:
            raise DatasetExportError("pixels need the folder of the pictures: give --pictures=FOLDER")
        folder = pathlib.Path(pictures)
        if not allow_unknown_licence:
            check_licences(rows)
        check_pictures(rows, folder)
    sweep_leftovers(output.parent, _UNFINISHED)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as name:
        scratch = pathlib.Path(name)
        with record.stage("write"):
            shards = _write_rows(scratch, rows, folder, report)
        facts = dataset_facts(
            [public_label(row) for row in rows],
            num_with_pixels=len(rows) if with_pixels else 0,
            has_pixels=with_pixels,
        )
        record.add("labels", labels.name)
        if labels.is_file():
            record.add("labels_sha256", file_sha256(labels))
        record.add("exported", exported_counts(facts))
        date = datetime.datetime.now(datetime.UTC).date()
        record.add("date", date.isoformat())
        write_croissant(scratch, facts=facts, words=words, shards=shards, date=date)
        write_dataset_card(scratch, facts=facts, words=words, shards=shards)
        record.write(scratch / RECORD_FILE)
        write_checksums(scratch)
        replace_outputs(scratch, output, DATASET_OUTPUTS)
    return DatasetSummary(
        path=output,
        facts=facts,
        shards=shards,
        num_old_versions=len(found.rows) - len(rows),
        unknown_columns=found.unknown_columns,
        warnings=_warnings(rows, words, found.unknown_columns),
    )


def _without_folders(argument: str) -> str:
    """An argument of the command line without the folders of somebody's disk: the record is published with the rest."""
    # Any of them may be a path, relative ones and URLs too, and tell who somebody is or what else there is.
    name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return f"{_last_part(name)}{equals}{_last_part(value)}"


def _last_part(text: str) -> str:
    return pathlib.PurePosixPath(text.replace("\\", "/")).name if "/" in text or "\\" in text else text


def _in_order(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Sources as they first occur, frames and people of each by number: videos are read once, from the front."""
    place: dict[tuple[str, str], int] = {}
    for row in rows:
        place.setdefault((row.source_path, row.source_sha256), len(place))
    return sorted(rows, key=lambda row: (place[row.source_path, row.source_sha256], row.frame_index, row.track_id))


def _write_rows(
    scratch: pathlib.Path, rows: Sequence[LabelRow], pictures: pathlib.Path | None, report: Progress
) -> tuple[DatasetShard, ...]:
    done = 0
    report("write", 0, len(rows))
    with DatasetWriter(scratch, with_pixels=pictures is not None) as writer:
        if pictures is None:
            for row in rows:
                writer.add(public_label(row))
            report("write", len(rows), len(rows))
        else:
            for own, picture in pictures_of_rows(rows, pictures):
                for row in own:
                    writer.add(public_label(row), picture)
                done += len(own)
                report("write", done, len(rows))
    return writer.shards


def _warnings(rows: Sequence[LabelRow], words: DatasetWords, unknown_columns: Sequence[str]) -> tuple[str, ...]:
    """What whoever publishes the folder should know or add."""
    warnings = []
    if words.licence is None:
        warnings.append("the data set has no licence: name one (--licence), or nobody may use it")
    num_unknown = sum(not has_licence(row) for row in rows)
    if num_unknown:
        warnings.append(f"{num_unknown} of {len(rows)} labels do not tell the licence of their picture")
    lacking = [name for name in ("url", "creator", "citation") if getattr(words, name) is None]
    if lacking:
        warnings.append(f"croissant.json says that these are unknown: {', '.join(lacking)}")
    if unknown_columns:
        warnings.append(f"columns that are not known were left out: {', '.join(unknown_columns)}")
    return tuple(warnings)
