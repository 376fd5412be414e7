"""A source taken out of the records of a job of many inputs: items are called after their sources.

The job remembers the number of the item and that it is gone: the command that began it goes on with the others, and
labels nothing again that was removed.
"""

import json
import pathlib
import shutil
from collections.abc import Collection, Iterator
from typing import Any

from hardmo_jax.pipelines.exports.removal_mentions import without_mentions
from hardmo_jax.pipelines.exports.removal_places import SourceName, json_of
from hardmo_jax.pipelines.runners.job_folder import JOB_FILE, LABELS, PARTS, REMOVED
from hardmo_jax.pipelines.runners.job_items import name_of_item
from hardmo_jax.pipelines.runners.manifest import FOLDER
from hardmo_jax.whole_files import replacing


def jobs_below(given: pathlib.Path) -> list[pathlib.Path]:
    """Folders of jobs in a folder and below it, or that of the store which is given."""
    folders = [given.parent] if given.name == LABELS else []
    folders += [path.parent for path in sorted(given.rglob(JOB_FILE))] if given.is_dir() else []
    return [folder for folder in dict.fromkeys(folders) if "items" in json_of(folder / JOB_FILE)]


def job_files_that_name(folder: pathlib.Path, sources: Collection[SourceName]) -> Iterator[pathlib.Path]:
    """Records of a job, and folders of parts, in which sources are named.

    Args:
        folder: Of the job.
        sources: Photos and videos.
    """
    named = _items_of(folder, sources)
    for path in _records(folder):
        if _cleaned(path, named, sources) != path.read_text(encoding="utf-8"):
            yield path
    yield from (folder / PARTS / name for name in sorted(named) if (folder / PARTS / name).is_dir())


def clean_job_file(path: pathlib.Path, folder: pathlib.Path, sources: Collection[SourceName]) -> None:
    """Write a record without the names of sources, or delete a folder of parts.

    Args:
        path: As `job_files_that_name` gave it; `job.json` comes last, as it tells which items are meant.
        folder: Of the job.
        sources: Photos and videos.
    """
    if path.is_dir():
        shutil.rmtree(path)
        return
    text = _cleaned(path, _items_of(folder, sources), sources)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _records(folder: pathlib.Path) -> list[pathlib.Path]:
    # What names items is last: a removal that is killed before knows them when it is run again.
    records = [*sorted((folder / FOLDER).glob("*.jsonl")), folder / LABELS / "run.json", folder / JOB_FILE]
    return [path for path in records if path.is_file()]


def _items_of(folder: pathlib.Path, sources: Collection[SourceName]) -> set[str]:
    stems = {name_of_item(pathlib.PurePosixPath(source.plain_path)) for source in sources}
    items = json_of(folder / JOB_FILE).get("items")
    names = [str(item.get("name")) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return {name for name in names if name.partition("_")[2] in stems}


def _cleaned(path: pathlib.Path, items: Collection[str], sources: Collection[SourceName]) -> str:
    """A record without names; other lines stay as they are."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n") if path.suffix == ".jsonl" else [text]
    return "\n".join(_cleaned_text(line, items, sources) for line in lines)


def _cleaned_text(text: str, items: Collection[str], sources: Collection[SourceName]) -> str:
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    cleaned = without_mentions(_renamed(told, items), sources)
    if cleaned == told:
        return text
    is_line = "\n" not in text.strip()
    ending = "\n" if text.endswith("\n") else ""
    return json.dumps(cleaned, ensure_ascii=False, indent=None if is_line else 2) + ending


def _renamed(value: Any, items: Collection[str]) -> Any:
    """A record in which items keep their number and lose the name of their source."""
    if isinstance(value, dict):
        return {key: _renamed(item, items) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, items) for item in value]
    if isinstance(value, str) and value in items:
        return f"{value.partition('_')[0]}_{REMOVED}"
    return value
