"""The list of what was collected: one row a source, written as soon as it is known.

`collected.jsonl` grows by a line whenever something is known of a source, and the last line of a source counts; so a
run may be killed at any moment. At the end of a run it is put in the order of the manifest.

Addresses are written without tokens and signatures, by what `private_text` takes for such; so a source whose signature
was renewed is the same one. `SourceNames` finds sources of a manifest by what was written of them.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import IO, Any, Literal

from hardmo_jax.data import categories
from hardmo_jax.labels.private_text import without_credentials
from hardmo_jax.pipelines import collect_names
from hardmo_jax.pipelines.collect_manifest import is_address
from hardmo_jax.whole_files import replacing

#: Name of the list in an output folder.
RECORDS = "collected.jsonl"
#: Folder of an output folder for what is not to be used.
ASIDE = "aside"
_MOST_LINE = 1 << 20

#: `kept`: there. `duplicate`: a copy of another one. `not_media`: fetched, but no photo or video that can be read.
#: `refused`: never fetched for the reason given. `failed`: could not be had, and may be another time.
Status = Literal["kept", "duplicate", "not_media", "refused", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collected:
    """What is known of a source."""

    source: str
    """As the manifest has it; in the list without credentials."""
    status: Status
    """See `Status`."""
    reason: str = ""
    """Why it is not kept, or what is odd about it."""
    file: str | None = None
    """Where it lies, relative to the output folder, or absolute where it is only referred to; None if nowhere."""
    is_reference: bool = False
    """Whether the file stays where it was."""
    final_url: str = ""
    """Where it came from in the end, without query."""
    category: str = ""
    """See `data.categories`."""
    licence: str = ""
    """As the manifest says."""
    site_licence: str = ""
    """As the page of a video site says."""
    query: str = ""
    """How it was found."""
    title: str = ""
    """As the manifest says, else the site."""
    author: str = ""
    """As the manifest says, else the site."""
    start_seconds: float | None = None
    """Where the part that is meant begins."""
    end_seconds: float | None = None
    """Where it ends."""
    bytes: int | None = None
    """Size of the file."""
    sha256: str = ""
    """Of the file, hexadecimal."""
    perceptual_hash: str = ""
    """Sixteen hexadecimal digits, see `perception.duplicates.Fingerprint.hash`."""
    width: int | None = None
    """Upright, pixels."""
    height: int | None = None
    """Upright, pixels."""
    fps: float | None = None
    """Frames a second; None for photos."""
    duration: float | None = None
    """Seconds; None for photos and where the file does not tell."""
    fetched: str = ""
    """When it came, ISO 8601."""
    duplicate_of: str | None = None
    """Source of the file that this one is a copy of."""


_FIELDS = {field.name for field in dataclasses.fields(Collected)}
_CATEGORIES = {category.name for category in categories.CATEGORIES}


def public_source(source: str) -> str:
    """A source as it may be written: an address without user, password, token and signature; a path as it is."""
    return without_credentials(source) if is_address(source) else source


class SourceNames:
    """How the sources of a manifest are named in the list, and which source a name of the list means.

    The names of sources that differ in nothing but credentials end in `#` and an identifier of the whole source.

    Args:
        sources: As the manifest has them.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._groups: dict[str, list[str]] = {}
        for source in dict.fromkeys(sources):
            self._groups.setdefault(public_source(source), []).append(source)
        self._names = {source: _name(source, group) for group in self._groups.values() for source in group}
        # As an earlier run named them, which may have had another of the same group.
        self._sources = {_long_name(source): source for source in self._names}
        self._sources |= {name: source for source, name in self._names.items()}

    def name(self, source: str) -> str:
        """What stands in the list for a source, also for one that the manifest does not have."""
        return self._names.get(source) or public_source(source)

    def meant(self, records: Mapping[str, Collected]) -> dict[str, Collected]:
        """Rows of a list by the sources of the manifest that they are of; those of no such source by their own names.

        Args:
            records: By the names of the list.
        """
        found: dict[str, str] = {}
        taken: set[str] = set()
        # Rows that say it exactly go first: two of them may be of one source now.
        for name in sorted(records, key=lambda name: name not in self._names and name not in self._sources):
            source = self._source_of(records[name])
            found[name] = name if source is None or source in taken else source
            taken.add(found[name])
        return {
            found[name]: dataclasses.replace(
                row, source=found[name], duplicate_of=found.get(row.duplicate_of or "", row.duplicate_of)
            )
            for name, row in records.items()
        }

    def _source_of(self, row: Collected) -> str | None:
        """The source a row is of; None if it is none of the manifest, or one of several and nobody knows which."""
        if row.source in self._names:
            return row.source
        public = public_source(row.source)
        # Was the only one of its group, and its file says by its name which.
        named = [
            source for source in self._groups.get(public, ()) if collect_names.short_id(source) in (row.file or "")
        ]
        return self._sources.get(row.source) or self._sources.get(public) or next(iter(named), None)


def _name(source: str, group: list[str]) -> str:
    return public_source(source) if len(group) == 1 else _long_name(source)


def _long_name(source: str) -> str:
    return f"{public_source(source)}#{collect_names.short_id(source)}"


def read_records(folder: pathlib.Path) -> dict[str, Collected]:
    """The last row of each source; lines that were cut off or are none of ours are passed over.

    Whoever made the folder wrote the list: no row comes back by which files outside of the folder would be written.
    """
    path = folder / RECORDS
    found: dict[str, Collected] = {}
    if path.is_symlink() or not path.is_file():
        return found
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while line := file.readline(_MOST_LINE):
            row = _row(line)
            if row is not None:
                found[row.source] = row
    return found


def _row(line: str) -> Collected | None:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            return None
        row = Collected(**{key: value for key, value in values.items() if key in _FIELDS})
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (row.source, row.status, row.category, row.sha256, row.reason, row.query, row.final_url)
    texts += (row.duplicate_of or "",)
    if not all(isinstance(text, str) for text in texts) or not isinstance(row.is_reference, bool):
        return None
    is_ours = row.category in _CATEGORIES and re.fullmatch(r"([0-9a-f]{64})?", row.sha256) is not None
    return row if is_ours and _is_plain_file(row.file, is_reference=row.is_reference) else None


def _is_plain_file(file: object, *, is_reference: bool) -> bool:
    """Whether a file is one that a run writes: `category/name`, `aside/category/name`, a path that is referred to."""
    if file is None:
        return True
    if not isinstance(file, str) or "\0" in file:
        return False
    if is_reference:
        return pathlib.Path(file).is_absolute()
    # Both are ways out of a folder on Windows.
    if "\\" in file or ":" in file:
        return False
    first, *others = file.removeprefix(f"{ASIDE}/").split("/")
    return first in _CATEGORIES and len(others) == 1 and others[0] not in ("", ".", "..")


def write_records(folder: pathlib.Path, rows: Iterable[Collected], names: SourceNames | None = None) -> pathlib.Path:
    """Put a list in place of the one that is there.

    Args:
        folder: Output folder.
        rows: In order.
        names: Of the sources of the manifest.
    """
    names = names or SourceNames(())
    with replacing(folder / RECORDS) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(_line(row, names))
    return folder / RECORDS


class RecordsWriter:
    """Appends rows so that each is on the disk before the next is begun.

    Args:
        folder: Output folder.
        names: Of the sources of the manifest.
    """

    def __init__(self, folder: pathlib.Path, names: SourceNames | None = None) -> None:
        self._path, self._names = folder / RECORDS, names or SourceNames(())
        self._file: IO[str] | None = None

    def __enter__(self) -> "RecordsWriter":
        self._file = self._path.open("a", encoding="utf-8", newline="\n")
        # What a killed run left of a line must not grow into this one's.
        self._file.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Collected) -> None:
        """Append a row."""
        if self._file is None:
            raise ValueError("rows are added inside of a with block")
        self._file.write(_line(row, self._names))
        self._file.flush()
        os.fsync(self._file.fileno())


def _line(row: Collected, names: SourceNames) -> str:
    values: dict[str, Any] = dataclasses.asdict(row)
    values |= {"source": names.name(row.source), "query": without_credentials(row.query)}
    values |= {"reason": without_credentials(row.reason), "final_url": without_credentials(row.final_url)}
    if row.duplicate_of is not None:
        values["duplicate_of"] = names.name(row.duplicate_of)
    return json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n"
