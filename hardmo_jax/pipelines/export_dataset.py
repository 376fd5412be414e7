"""Labels as a data set that can be published: Parquet shards, a card, Croissant metadata, checksums and a record.

The layout is the one of the Hugging Face Hub. Pictures are in it only where asked for, where their licence is known,
and where they are those that were labelled.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from hardmo_jax.export.croissant import CROISSANT_FILE, write_croissant
from hardmo_jax.export.dataset_card import CARD_FILE, write_dataset_card
from hardmo_jax.export.dataset_facts import (
    DatasetExportError,
    DatasetFacts,
    DatasetWords,
    dataset_facts,
    has_licence,
    public_label,
)
from hardmo_jax.export.dataset_files import DATA_FOLDER, DatasetShard, DatasetWriter, dataset_shard_paths
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.dataset_pixels import check_licences, check_pictures, pictures_of_rows
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers
from hardmo_jax.whole_files import file_sha256, replacing

CHECKSUM_FILE = "SHA256SUMS"
RECORD_FILE = "run.json"
#: What an export leaves, the record last.
DATASET_OUTPUTS = (DATA_FOLDER, CARD_FILE, CROISSANT_FILE, CHECKSUM_FILE, RECORD_FILE)
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
    labels, output = pathlib.Path(source), pathlib.Path(output_folder)
    if (labels / "labels.parquet").is_file():
        labels = labels / "labels.parquet"
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
        found = store.read_labels(labels)
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
        record.add("exported", _counts(facts))
        record.add("date", datetime.datetime.now(datetime.UTC).date().isoformat())
        write_croissant(scratch, facts=facts, words=words, shards=shards, date=_date(record.results))
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
    name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    is_absolute = bool(pathlib.PurePosixPath(value).is_absolute() or pathlib.PureWindowsPath(value).anchor)
    if is_absolute or value.startswith("~"):
        value = pathlib.PurePosixPath(value.replace("\\", "/")).name
    return f"{name}{equals}{value}"


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


def _counts(facts: DatasetFacts) -> dict[str, int]:
    return {
        "labels": facts.num_labels,
        "sources": facts.num_sources,
        "pictures": facts.num_pictures,
        "people": facts.num_people,
        "with_pixels": facts.num_with_pixels,
    }


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


# An export that is there already ---------------------------------------------------------------------------


def is_dataset(folder: pathlib.Path) -> bool:
    """Whether a folder is an export of this job, whole or not."""
    return bool(dataset_shard_paths(folder)) and (folder / CROISSANT_FILE).is_file()


def describe_dataset_again(folder: pathlib.Path, facts: DatasetFacts, shards: Sequence[DatasetShard]) -> None:
    """Write card, metadata, record and checksums of a data set whose rows became fewer.

    Args:
        folder: Of the data set.
        facts: Of its rows.
        shards: Its files.
    """
    record = dataset_record(folder)
    words = _words(record)
    results = record.setdefault("results", {})
    results["exported"] = _counts(facts)
    write_croissant(folder, facts=facts, words=words, shards=shards, date=_date(results))
    write_dataset_card(folder, facts=facts, words=words, shards=shards)
    with replacing(folder / RECORD_FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_checksums(folder)


def dataset_record(folder: pathlib.Path) -> dict[str, Any]:
    """What `run.json` of a data set says; without content where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _words(record: dict[str, Any]) -> DatasetWords:
    """Words that an export was given, as far as its record still tells them."""
    config = record.get("config")
    told = config.get("words") if isinstance(config, dict) else None
    known = {field.name for field in dataclasses.fields(DatasetWords)}
    try:
        return DatasetWords(**{name: value for name, value in (told or {}).items() if name in known})
    except (AttributeError, TypeError, DatasetExportError):
        return DatasetWords()


def _date(results: dict[str, Any]) -> datetime.date:
    try:
        return datetime.date.fromisoformat(str(results.get("date")))
    except ValueError:
        return datetime.datetime.now(datetime.UTC).date()


def write_checksums(folder: pathlib.Path) -> None:
    """Write `SHA256SUMS` over all files of a data set, as `sha256sum -c` reads it."""
    with replacing(folder / CHECKSUM_FILE) as temporary:
        temporary.write_text("".join(_checksum_lines(folder)), encoding="utf-8", newline="\n")


def are_checksums_right(folder: pathlib.Path) -> bool:
    """Whether `SHA256SUMS` is that of the files that are there."""
    try:
        return (folder / CHECKSUM_FILE).read_text(encoding="utf-8") == "".join(_checksum_lines(folder))
    except (OSError, ValueError):
        return False


def _checksum_lines(folder: pathlib.Path) -> list[str]:
    paths = [*dataset_shard_paths(folder), *(folder / name for name in (CARD_FILE, CROISSANT_FILE, RECORD_FILE))]
    return [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths if path.is_file()]
