"""Which files a label store of several shards consists of: a copy is complete, or says what it lacks.

The file `manifest.json` is written last. A shard that is replaced in place, as by a correction, is announced there
before and confirmed afterwards, so that a kill at any moment leaves a store that is valid.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from hardmo_jax import file_locks
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.whole_files import file_sha256, replacing

STORE_FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SHARD_NAME = re.compile(r"labels-([0-9]{5,9})\.parquet")
_MAX_BYTES = 1 << 30
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: How long another process may take to write the manifest.
_PATIENCE_SECONDS, _RETRY_SECONDS = 30.0, 0.02


class StoreIncompleteError(LabelError):
    """A shard of a label store is missing or not the one that was written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What is known of the content of a file."""

    num_rows: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a store."""

    name: str
    facts: FileFacts
    announced: FileFacts | None = None
    """What takes its place at this moment, if somebody replaces it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreManifest:
    """All files of a store, in order."""

    shards: tuple[Shard, ...]
    is_complete: bool = True
    """False while shards are put in their places for the first time."""

    @property
    def num_rows(self) -> int:
        """Labels in all shards."""
        return sum(shard.facts.num_rows for shard in self.shards)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """How a store compares with its manifest."""

    folder: pathlib.Path
    num_rows: int
    """Of the shards that are as they were written."""
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]
    """Label files that are none of it."""
    is_finished: bool
    """Whether there is a manifest, and all shards had been put in their places."""

    @property
    def is_complete(self) -> bool:
        """Whether all that was written is there."""
        return self.is_finished and not self.missing and not self.changed

    def told(self) -> str:
        """The same in a line."""
        if not self.is_finished:
            return f"{self.folder}: not finished; the command that writes it goes on"
        if self.is_complete and not self.foreign:
            return f"{self.folder}: complete, {self.num_rows:,} labels"
        words = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("missing", self.missing), ("changed", self.changed), ("foreign", self.foreign))
            if names
        ]
        return f"{self.folder}: {'; '.join(words)}; {self.num_rows:,} labels are as they were written"


def read_store_manifest(folder: pathlib.Path) -> StoreManifest | None:
    """The manifest of a store; None if there is none.

    Raises:
        StoreIncompleteError: If it is damaged, or of a newer version.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise StoreIncompleteError(f"{path}: larger than any manifest; copy the store again")
        told = json.loads(path.read_bytes())
        version = told["store_format_version"]
        if isinstance(version, int) and version > STORE_FORMAT_VERSION:
            raise StoreIncompleteError(
                f"{path}: of a newer hardmo_jax (format {version}, known up to {STORE_FORMAT_VERSION}); update it"
            )
        shards = tuple(_shard_of(shard) for shard in told["shards"])
        if len({shard.name for shard in shards}) != len(shards):
            raise ValueError("a shard is named twice")
        return StoreManifest(shards=shards, is_complete=told["is_complete"] is True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except StoreIncompleteError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreIncompleteError(f"{path}: damaged ({error}); copy the store again") from error


def write_store_manifest(folder: pathlib.Path, manifest: StoreManifest) -> None:
    """Write the manifest of a store, completely or not at all."""
    told = {
        "store_format_version": STORE_FORMAT_VERSION,
        "is_complete": manifest.is_complete,
        "num_rows": manifest.num_rows,
        "shards": [_told_shard(shard) for shard in manifest.shards],
    }
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def shards_of_store(folder: pathlib.Path) -> list[pathlib.Path] | None:
    """Files of a store in order, each as long as it was written; None if the folder has no manifest.

    Raises:
        StoreIncompleteError: If one is missing or of another length, or a label file is none of them.
    """
    manifest = read_store_manifest(folder)
    if manifest is None:
        return None
    if not manifest.is_complete:
        raise StoreIncompleteError(f"{folder}: not finished; the command that writes it goes on")
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file():
            raise StoreIncompleteError(
                f"{folder}: {shard.name} is missing, with {shard.facts.num_rows} labels; copy it again, or run the "
                "command that made the store"
            )
        lengths = [facts.num_bytes for facts in (shard.facts, shard.announced) if facts is not None]
        if path.stat().st_size not in lengths:
            raise StoreIncompleteError(
                f"{path}: has {path.stat().st_size} bytes, and was written with {lengths[0]}; copy it again, or run "
                "the command that made the store"
            )
    foreign = _foreign(folder, manifest)
    if foreign:
        raise StoreIncompleteError(f"{folder}: {foreign[0]} is no file of this store; move it elsewhere")
    return [folder / shard.name for shard in manifest.shards]


def verify_store(folder: pathlib.Path) -> StoreCheck:
    """Compare every file of a store with its checksum.

    Raises:
        StoreIncompleteError: If the manifest is damaged, or of a newer version.
    """
    manifest = read_store_manifest(folder)
    if manifest is None:
        return StoreCheck(folder=folder, num_rows=0, missing=(), changed=(), foreign=(), is_finished=False)
    missing, changed, num_rows = [], [], 0
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file():
            missing.append(shard.name)
            continue
        digest = file_sha256(path)
        known = {facts.sha256: facts for facts in (shard.facts, shard.announced) if facts is not None}
        if digest in known:
            num_rows += known[digest].num_rows
        else:
            changed.append(shard.name)
    return StoreCheck(
        folder=folder, num_rows=num_rows, missing=tuple(missing), changed=tuple(changed),
        foreign=tuple(_foreign(folder, manifest)), is_finished=manifest.is_complete,
    )  # fmt: skip


@contextlib.contextmanager
def replacing_shard(path: pathlib.Path, num_rows: int) -> Iterator[pathlib.Path]:
    """Write a label file completely or not at all, as `replacing`; a manifest that names it stays true all the while.

    Args:
        path: The file; one that no manifest beside it names is just replaced.
        num_rows: Labels that it will hold.
    """
    if SHARD_NAME.fullmatch(path.name) is None or read_store_manifest(path.parent) is None:
        with replacing(path) as temporary:
            yield temporary
        return
    with replacing(path) as temporary:
        yield temporary
        facts = FileFacts(num_rows=num_rows, num_bytes=temporary.stat().st_size, sha256=file_sha256(temporary))
        _change(path, announced=facts)
    _change(path, announced=None)


def _change(path: pathlib.Path, announced: FileFacts | None) -> None:
    """Announce what will take the place of a shard, or take over what has."""
    with _held_manifest(path.parent):
        manifest = read_store_manifest(path.parent)
        if manifest is None:
            return
        shards = []
        for shard in manifest.shards:
            if shard.name == path.name:
                is_over = announced is None and shard.announced is not None
                facts = shard.announced if is_over and shard.announced is not None else shard.facts
                shard = Shard(name=shard.name, facts=facts, announced=announced)
            shards.append(shard)
        write_store_manifest(path.parent, dataclasses.replace(manifest, shards=tuple(shards)))


@contextlib.contextmanager
def _held_manifest(folder: pathlib.Path) -> Iterator[None]:
    """Keep other processes from changing the manifest meanwhile; shards of one store have writers of their own."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with (folder / ".writing-manifest.lock").open("a") as file:
        while not file_locks.lock_file(file):
            if time.monotonic() >= deadline:
                raise StoreIncompleteError(
                    f"{folder}: another process has been writing the manifest for {_PATIENCE_SECONDS:g} s; stop it"
                )
            time.sleep(_RETRY_SECONDS)
        yield


def _foreign(folder: pathlib.Path, manifest: StoreManifest) -> list[str]:
    own = {shard.name for shard in manifest.shards}
    found: Sequence[pathlib.Path] = sorted(folder.glob("*.parquet"))
    return [path.name for path in found if path.name not in own and not path.name.startswith(".")]


def _told_shard(shard: Shard) -> dict[str, Any]:
    told: dict[str, Any] = {"name": shard.name, **dataclasses.asdict(shard.facts)}
    if shard.announced is not None:
        told["announced"] = dataclasses.asdict(shard.announced)
    return told


def _shard_of(told: Any) -> Shard:
    if SHARD_NAME.fullmatch(told["name"]) is None:
        raise ValueError(f"{told['name']!r} is no name of a shard")
    announced = told.get("announced")
    return Shard(
        name=told["name"], facts=_facts_of(told), announced=None if announced is None else _facts_of(announced)
    )


def _facts_of(told: Any) -> FileFacts:
    rows, num_bytes, sha256 = told["num_rows"], told["num_bytes"], told["sha256"]
    if not (isinstance(rows, int) and isinstance(num_bytes, int) and rows >= 0 and num_bytes >= 0):
        raise ValueError(f"rows and bytes must be whole numbers, found {rows!r} and {num_bytes!r}")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"{sha256!r} is no checksum")
    return FileFacts(num_rows=rows, num_bytes=num_bytes, sha256=sha256)
