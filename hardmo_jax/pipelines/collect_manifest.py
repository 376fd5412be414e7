"""Manifests: lists of sources to collect, with what each may be used for and how it was found.

CSV with a header line, JSON lines, or a JSON list of objects. Anybody may have written one: sizes are bounded, and
nothing in it is a path to write to.
"""

import csv
import dataclasses
import io
import json
import math
import os
import pathlib
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from hardmo_jax import options as options_module
from hardmo_jax.data import categories

MANIFEST_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json")

_MOST_BYTES = 64 << 20
_MOST_TEXT = 8192
#: Said of licences that are not known.
_NO_LICENCE = {"", "-", "?", "unknown", "none", "n/a", "na", "null", "tbd", "todo", "not known", "unclear"}


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names file and line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One line of a manifest."""

    source: str
    """Address (http or https) or path of a file; paths are relative to the manifest."""
    category: str
    """See `data.categories`."""
    query: str
    """How it was found, in words."""
    licence: str = ""
    """What it may be used under, such as `CC BY 4.0`; without it a source is refused."""
    title: str = ""
    """What it is called."""
    author: str = ""
    """Who made it."""
    sha256: str = ""
    """Of the file, hexadecimal; another file is refused. Empty: not known."""
    start_seconds: float | None = None
    """Where the part that is meant begins; None for the beginning."""
    end_seconds: float | None = None
    """Where it ends; None for the end."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and len(value) > _MOST_TEXT:
                raise ValueError(f"{field.name} is longer than {_MOST_TEXT} letters")
        if not self.source.strip():
            raise ValueError("source is empty; give an address or a path")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, got {self.sha256[:80]!r}")
        start, end = self.start_seconds, self.end_seconds
        if not all(value is None or (math.isfinite(value) and value >= 0) for value in (start, end)):
            raise ValueError(f"start_seconds and end_seconds must not be negative, got {start} and {end}")
        if end is not None and end <= (start or 0.0):
            raise ValueError(f"end_seconds ({end}) must be later than start_seconds ({start or 0.0})")

    @property
    def has_licence(self) -> bool:
        """Whether the manifest says under what the source may be used."""
        return self.licence.strip().casefold() not in _NO_LICENCE

    @property
    def is_address(self) -> bool:
        """Whether the source is no path."""
        return is_address(self.source)


def is_address(source: str) -> bool:
    """Whether a source is no path; a drive letter of Windows is no scheme."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.\-]+:", source.strip()) is not None


def read_manifest(path: str | os.PathLike[str]) -> tuple[Source, ...]:
    """Read a manifest.

    Args:
        path: File ending in one of `MANIFEST_SUFFIXES`.

    Returns:
        Sources in order, their categories by the names of `data.categories`.

    Raises:
        FileNotFoundError: If there is no such file.
        ManifestError: If it is too large, of no known kind, empty, or a line of it cannot be used.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at {path}; give --manifest=sources.csv (docs/collect.md has an example)")
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise ManifestError(f"{path}: a manifest ends in {', '.join(MANIFEST_SUFFIXES)}, not in {suffix!r}")
    if path.stat().st_size > _MOST_BYTES:
        raise ManifestError(f"{path}: {path.stat().st_size / 1e6:.0f} MB is too large for a manifest; divide it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    reader = {".csv": _csv_rows, ".json": _json_rows}.get(suffix, _json_lines)
    sources = []
    for line, row in reader(text, path):
        where = f"{path.name}, line {line}" if suffix != ".json" else f"{path.name}, entry {line}"
        if not isinstance(row, Mapping):
            raise ManifestError(f"{where}: expected an object with the keys of a source")
        try:
            source = options_module.from_mapping(Source, row, where=where)
            name = categories.category_named(source.category).name
        except (options_module.OptionsError, categories.CategoryError) as error:
            message = str(error)
            raise ManifestError(message if message.startswith(where) else f"{where}: {message}") from error
        sources.append(dataclasses.replace(source, source=source.source.strip(), category=name))
    if not sources:
        raise ManifestError(f"{path}: names no source")
    return tuple(sources)


def _csv_rows(text: str, path: pathlib.Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a CSV file with a header, by their last line; empty cells are absent."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    numbers = {name for name, hint in typing.get_type_hints(Source).items() if hint is not str}
    try:
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ManifestError(
                    f"{where}: has not as many cells as the header; put cells with commas into double quotes"
                )
            filled: dict[str, Any] = {
                (name or "").strip(): value for name, value in row.items() if value.strip() or name in ("query",)
            }
            for name in numbers & filled.keys():
                try:
                    filled[name] = float(filled[name])
                except ValueError as error:
                    raise ManifestError(f"{where}: {name} must be seconds, got {filled[name][:60]!r}") from error
            if filled:
                yield reader.line_num, filled
    except csv.Error as error:
        raise ManifestError(f"{path.name}, line {reader.line_num}: {error}") from error


def _json_lines(text: str, path: pathlib.Path) -> Iterator[tuple[int, Any]]:
    # Not splitlines: it breaks lines at characters that JSON allows inside of strings.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _without_nothing(_parsed(line, f"{path.name}, line {number}"))


def _json_rows(text: str, path: pathlib.Path) -> Iterator[tuple[int, Any]]:
    content = _parsed(text, path.name)
    if not isinstance(content, list):
        raise ManifestError(f"{path.name}: expected a list of sources; for one object a line name it .jsonl")
    for number, entry in enumerate(content, 1):
        yield number, _without_nothing(entry)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: is no JSON ({' '.join(str(error).split())[:120]})") from error


def _without_nothing(entry: Any) -> Any:
    """An entry without its nulls, which say the same as no key."""
    return {key: value for key, value in entry.items() if value is not None} if isinstance(entry, Mapping) else entry
