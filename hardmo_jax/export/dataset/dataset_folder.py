"""The folder of a data set: what lies in it, its checksums, and what is told of it when rows became fewer."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from hardmo_jax.export.dataset.croissant import CROISSANT_FILE, write_croissant
from hardmo_jax.export.dataset.dataset_card import CARD_FILE, write_dataset_card
from hardmo_jax.export.dataset.dataset_facts import DatasetExportError, DatasetFacts, DatasetWords
from hardmo_jax.export.dataset.dataset_files import DATA_FOLDER, DatasetShard, dataset_shard_paths
from hardmo_jax.whole_files import file_sha256, replacing

CHECKSUM_FILE = "SHA256SUMS"
RECORD_FILE = "run.json"
#: What an export leaves, the record last.
DATASET_OUTPUTS = (DATA_FOLDER, CARD_FILE, CROISSANT_FILE, CHECKSUM_FILE, RECORD_FILE)


def exported_counts(facts: DatasetFacts) -> dict[str, int]:
    """Counts as the record of a data set tells them."""
    return {
        "labels": facts.num_labels,
        "sources": facts.num_sources,
        "pictures": facts.num_pictures,
        "people": facts.num_people,
        "with_pixels": facts.num_with_pixels,
    }


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
    results["exported"] = exported_counts(facts)
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
