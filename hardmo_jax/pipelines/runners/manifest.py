"""What has become of each item of a job: lines that are added and never changed, each on disk before work goes on.

A line that a kill or a power cut tore is the last of its file, and is passed over. Each shard of a job has a file of
its own, so that no two machines write to one.
"""

import dataclasses
import json
import os
import pathlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from hardmo_jax.labels.private_text import public_text
from hardmo_jax.whole_files import make_folders, sync_file

#: Of a line; a longer one is none of ours.
_MAX_LINE = 16 << 20
FOLDER = "manifest"


class ManifestError(ValueError):
    """What says how far a job is cannot be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartRecord:
    """A take that is labelled: its file is complete on disk."""

    file: str
    """Name below the item's folder."""
    num_rows: int
    num_bytes: int
    sha256: str
    num_pictures: int
    """That were looked at."""
    end: int
    """Position in the source behind the last of them."""
    next_track: int
    """Number of the next person of the source."""
    seconds: Mapping[str, float]
    """At work, by stage."""
    told: Mapping[str, Any]
    """Counts, warnings and what `run.json` says of it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "PartRecord":
        """The inverse of `to_json`.

        Raises:
            ValueError: Or KeyError or TypeError, if a value is missing, of another kind, or no name of a part.
        """
        fields = {field.name: told[field.name] for field in dataclasses.fields(cls)}
        for key in ("num_rows", "num_bytes", "num_pictures", "end", "next_track"):
            fields[key] = int(fields[key])
        _file_name(fields["file"])
        fields["seconds"] = {_text(stage): float(value) for stage, value in dict(fields["seconds"]).items()}
        fields["told"] = dict(fields["told"])
        return cls(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an item cannot be labelled, or not wholly."""

    stage: str
    """`look`, `fit` or `write`."""
    reason: str
    """In one line, what to do about it at its end."""
    trace: str = ""
    """Where it arose, if it is no mistake of the input."""


@dataclasses.dataclass(kw_only=True)
class ItemState:
    """How far an item is."""

    state: Literal["begun", "done", "failed"] = "begun"
    num_bytes: int | None = None
    """Size of the source when it was begun."""
    parts: list[PartRecord] = dataclasses.field(default_factory=list)
    """In order, without gaps."""
    failure: Failure | None = None
    told: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What was odd about the whole item."""


def name_of_part(number: int) -> str:
    """A name for the file of a take, of which no other attempt at it has the same: one may still be at work."""
    return f"{number:05d}-{secrets.token_hex(4)}.parquet"


class Manifest:
    """The file of one shard of a job, and what the others say."""

    def __init__(self, folder: pathlib.Path, suffix: str) -> None:
        """Open; nothing is written yet.

        Args:
            folder: Of the job.
            suffix: Of this shard.

        Raises:
            ManifestError: If a file is damaged.
        """
        self._path = folder / FOLDER / f"items{suffix}.jsonl"
        self.items = read_item_states(folder)
        """By name; of all shards as they were when this was opened, of this one as they are."""
        self._handle: int | None = None

    def begin(self, name: str, num_bytes: int | None, *, kept_parts: int = 0) -> ItemState:
        """An item is looked at.

        Args:
            name: Its own.
            num_bytes: Size of its source; what was known of one of another size is forgotten.
            kept_parts: Leading takes that need not be labelled again.
        """
        return self._add({"item": name, "event": "begun", "num_bytes": num_bytes, "kept_parts": kept_parts})

    def add_part(self, name: str, number: int, part: PartRecord) -> ItemState:
        """A take is labelled.

        Args:
            name: Of its item.
            number: Of the take, from 0; those behind it that were there are forgotten.
            part: What became of it.
        """
        return self._add({"item": name, "event": "part", "number": number, **part.to_json()})

    def end(self, name: str, told: Mapping[str, Any]) -> ItemState:
        """All of an item is labelled."""
        return self._add({"item": name, "event": "done", "told": dict(told)})

    def fail(self, name: str, failure: Failure) -> ItemState:
        """An item cannot be labelled; takes before the failure stay."""
        told = {key: public_text(text) for key, text in dataclasses.asdict(failure).items()}
        return self._add({"item": name, "event": "failed", **told})

    def read_again(self) -> None:
        """Take in what was written by another object."""
        self.items.update(read_item_states(self._path.parent.parent))

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _add(self, line: dict[str, Any]) -> ItemState:
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if self._handle is None:
            make_folders(self._path.parent)
            _mend_end(self._path)
            self._handle = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644
            )
            # A file that is new is not on disk under its name before this, whatever is synced of its content.
            sync_file(self._path.parent)
        written = 0
        while written < len(data):
            written += os.write(self._handle, data[written:])
        os.fsync(self._handle)
        _apply(self.items, line)
        return self.items[line["item"]]


def read_item_states(folder: pathlib.Path) -> dict[str, ItemState]:
    """How far each item is that any shard has begun.

    Args:
        folder: Of the job.

    Raises:
        ManifestError: If a file is damaged anywhere but at its end.
    """
    items: dict[str, ItemState] = {}
    for path in sorted((folder / FOLDER).glob("items*.jsonl")):
        for line in _lines(path):
            try:
                _apply(items, line)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise ManifestError(_damaged(path, error)) from error
    return items


def _lines(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while data := file.readline(_MAX_LINE):
            number += 1
            if not data.endswith(b"\n"):
                if len(data) == _MAX_LINE:
                    raise ManifestError(_damaged(path, f"line {number} does not end"))
                return
            try:
                yield json.loads(data)
            except (ValueError, RecursionError) as error:
                raise ManifestError(_damaged(path, f"line {number}: {error}")) from error


def _damaged(path: pathlib.Path, cause: object) -> str:
    return (
        f"{path}: damaged ({cause}); the labels below `parts` are whole: give another --output_dir, or cut the file "
        "before that line to have the rest done again"
    )


def _mend_end(path: pathlib.Path) -> None:
    """Cut off a line that was torn, so that the next one does not go on in it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(end - 65536, 0)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


def _apply(items: dict[str, ItemState], line: Mapping[str, Any]) -> None:
    """What a line says."""
    name, event = _file_name(line["item"]), line["event"]
    if event == "begun":
        num_bytes = None if line["num_bytes"] is None else int(line["num_bytes"])
        known = items.get(name)
        is_same = known is not None and known.num_bytes == num_bytes
        kept = known.parts[: int(line["kept_parts"])] if known is not None and is_same else []
        items[name] = ItemState(num_bytes=num_bytes, parts=kept)
        return
    item = items[name]
    if event == "part":
        number = int(line["number"])
        if not 0 <= number <= len(item.parts):
            raise ValueError(f"take {number} of {name} follows take {len(item.parts) - 1}")
        item.parts[number:] = [PartRecord.from_json(line)]
    elif event == "done":
        item.state, item.told = "done", dict(line["told"])
    elif event == "failed":
        item.state = "failed"
        item.failure = Failure(stage=_text(line["stage"]), reason=_text(line["reason"]), trace=_text(line["trace"]))
    else:
        raise ValueError(f"unknown event {event!r}")


def _file_name(value: Any) -> str:
    """A name that leads out of no folder."""
    if not isinstance(value, str) or re.fullmatch(r"\w[\w.-]{0,200}", value) is None:
        raise ValueError(f"{value!r} is no name of an item or part")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
