"""Whether the shards in a folder are those of its manifest: by length when they are read, by checksum when asked."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

from hardmo_jax.labels.store_manifest import (
    MANIFEST,
    SHARD_NAME,
    Shard,
    StoreIncompleteError,
    StoreManifest,
    read_any_manifest,
    read_store_manifest,
)
from hardmo_jax.whole_files import file_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """How a store compares with its manifest."""

    folder: pathlib.Path
    num_rows: int
    """Of the shards that are as they were written."""
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]
    """Parquet files that are none of it."""
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
        foreign=foreign_files(folder, {shard.name for shard in manifest.shards}), is_finished=True,
    )  # fmt: skip


@contextlib.contextmanager
def label_files_of(path: pathlib.Path) -> Iterator[Iterator[pathlib.Path]]:
    """The label files that a path means, in order: itself, or the shards of a folder, unfinished ones left out.

    Each is looked at before it is given, and again when the next is asked for: nothing is read half before and half
    after a store is put together anew.

    Raises:
        FileNotFoundError: If nothing is there.
        StoreIncompleteError: If a shard of a store is missing or of another length, or
            the store is put together anew meanwhile.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such label file; `tools.annotate` writes one")
    if not path.is_dir():
        yield iter([path])
        return
    with shards_of_store(path) as shards:
        if shards is not None:
            yield shards
            return
        found = sorted(foreign_files(path, set()))
        if not found:
            raise FileNotFoundError(f"{path}: the folder holds no .parquet file; `tools.annotate` writes one")
        yield iter([path / name for name in found])


@contextlib.contextmanager
def shards_of_store(folder: pathlib.Path) -> Iterator[Iterator[pathlib.Path] | None]:
    """Files of a store in order, each looked at when its turn comes; None if the folder has no manifest.

    Who opened a file asks for the next only when all of it is read. A store that is put together anew meanwhile is
    told, and never read as half of the one and half of the other.

    Raises:
        StoreIncompleteError: If one is missing or of another length, if the store is not finished, or is another one
            in the end.
    """
    found = read_any_manifest(folder)
    if found is None:
        yield None
        # The first manifest may have come while shards without one were read.
        if read_any_manifest(folder) is not None:
            raise StoreIncompleteError(f"{folder}: was put together while it was read; read it again")
        return
    if not isinstance(found, StoreManifest):
        raise StoreIncompleteError(
            f"{folder}: not finished, its shards are not all in their places; run the command that makes the store "
            "again, or wait for it"
        )
    _check_present(folder, found)
    yield _in_turn(folder, found)


def _in_turn(folder: pathlib.Path, manifest: StoreManifest) -> Iterator[pathlib.Path]:
    for shard in manifest.shards:
        yield folder / shard.name
        # Whoever puts a store together anew says so before the first shard is replaced.
        now = read_any_manifest(folder)
        if not isinstance(now, StoreManifest) or now.compaction != manifest.compaction:
            raise StoreIncompleteError(f"{folder}: was put together anew while it was read; read it again")


def _check_present(folder: pathlib.Path, manifest: StoreManifest) -> None:
    missing = [shard.name for shard in manifest.shards if not (folder / shard.name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        rows = sum(shard.facts.num_rows for shard in manifest.shards if shard.name in set(missing))
        raise StoreIncompleteError(
            f"{folder}: {missing[0]}{more} of {len(manifest.shards)} shards are missing, with {rows} labels; copy them "
            "again, or run the command that made the store"
        )
    for shard in manifest.shards:
        _check_length(folder / shard.name, shard, folder)
    unknown = [
        name for name in foreign_files(folder, {shard.name for shard in manifest.shards}) if SHARD_NAME.fullmatch(name)
    ]
    if unknown:
        raise StoreIncompleteError(
            f"{folder}: {unknown[0]} is none of the {len(manifest.shards)} shards that {MANIFEST} names, so one of the "
            "two is of another store; copy the store again into an empty folder"
        )


def _check_length(path: pathlib.Path, shard: Shard, folder: pathlib.Path) -> None:
    size = path.stat().st_size
    if size in {facts.num_bytes for facts in (shard.facts, shard.announced) if facts is not None}:
        return
    # Labels in it may have been changed between the two looks.
    now = read_store_manifest(folder)
    of_now = [] if now is None else [one.facts.num_bytes for one in now.shards if one.name == shard.name]
    if path.stat().st_size not in of_now:
        raise StoreIncompleteError(
            f"{path}: has {size} bytes, and was written with {shard.facts.num_bytes}; copy it again, or run the "
            "command that made the store"
        )


def foreign_files(folder: pathlib.Path, own: set[str]) -> tuple[str, ...]:
    """Parquet files of a folder that are none of its own; unfinished ones, of hidden names, are nobody's."""
    found = (path.name for path in folder.glob("*.parquet"))
    return tuple(sorted(name for name in found if name not in own and not name.startswith(".")))
