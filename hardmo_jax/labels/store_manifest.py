"""Which files a label store of several shards consists of: a copy is complete, or says what it lacks.

The file `manifest.json` is written last, when all shards are in their places. It comes from strangers too: it is
bounded, and no name in it leads out of the folder.
"""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from hardmo_jax.labels.schema import LabelError
from hardmo_jax.whole_files import replacing

STORE_FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SHARD_NAME = re.compile(r"labels-([0-9]{5,9})\.parquet")
#: Of a manifest that is read. Sources are left out where they would make it larger.
MAX_MANIFEST_BYTES = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = 2**63 - 1


class StoreIncompleteError(LabelError):
    """A label store is not, or not yet, what was written: a shard is missing or another, or the manifest is damaged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOfShard:
    """A photo or video that labels of a shard are of."""

    path: str
    """As the labels have it."""
    sha256: str
    """Of its content."""
    num_rows: int
    """Labels in the shard; a large video may have more in the next."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What is known of the content of a file."""

    num_rows: int
    num_bytes: int
    sha256: str
    sources: tuple[SourceOfShard, ...] | None
    """In the order of their first labels; None in manifests that would be too large with them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a store."""

    name: str
    facts: FileFacts
    compacted_sha256: str
    """Of the file as `compact_labels` wrote it: another one than `facts` have where labels were changed since."""
    compacted_rows: int
    """Labels in it then."""
    announced: FileFacts | None = None
    """What takes its place at this moment, if somebody changes labels in it."""

    @property
    def is_changed(self) -> bool:
        """Whether labels in it were changed since it was put together."""
        return self.announced is not None or self.facts.sha256 != self.compacted_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreManifest:
    """All files of a store, in order."""

    shards: tuple[Shard, ...]

    @property
    def num_rows(self) -> int:
        """Labels in all shards."""
        return sum(shard.facts.num_rows for shard in self.shards)

    @property
    def num_compacted_rows(self) -> int:
        """Labels that the store was put together of, whatever was changed in it since."""
        return sum(shard.compacted_rows for shard in self.shards)

    @property
    def compaction(self) -> tuple[tuple[str, str], ...]:
        """What stays the same while labels in the store are changed, and not when it is put together anew."""
        return tuple((shard.name, shard.compacted_sha256) for shard in self.shards)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnfinishedStore:
    """A store whose shards are being put in their places, or were when that was stopped."""

    goal: StoreManifest
    """As it will be."""
    names: frozenset[str]
    """Shards that are in the folder because of it, or go."""


def read_store_manifest(folder: pathlib.Path) -> StoreManifest | None:
    """The manifest of a store; None if there is none, or the store is not finished.

    Raises:
        StoreIncompleteError: If it is damaged, or of a newer version.
    """
    found = read_any_manifest(folder)
    return found if isinstance(found, StoreManifest) else None


def read_any_manifest(folder: pathlib.Path) -> StoreManifest | UnfinishedStore | None:
    """The manifest of a store, finished or not; None if there is none.

    Raises:
        StoreIncompleteError: If it is damaged, or of a newer version.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            # As much memory is taken as is asked for: a file may grow after its size was asked.
            content = file.read(min(os.fstat(file.fileno()).st_size, MAX_MANIFEST_BYTES) + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > MAX_MANIFEST_BYTES:
        raise StoreIncompleteError(
            f"{path}: more than {MAX_MANIFEST_BYTES} bytes, and no manifest is so large; copy it again"
        )
    try:
        told = json.loads(content)
        version = told["store_format_version"]
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ValueError(f"the version {version!r} is none")
        if version > STORE_FORMAT_VERSION:
            raise StoreIncompleteError(
                f"{path}: written by a newer hardmo_jax (store format {version}, known up to {STORE_FORMAT_VERSION}); "
                "update hardmo_jax to read it"
            )
        if told["is_complete"] is not True:
            return UnfinishedStore(goal=_manifest_of(told), names=frozenset(map(_name_of, told["names"])))
        return _manifest_of(told)
    except StoreIncompleteError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise StoreIncompleteError(
            f"{path}: damaged ({reason}); copy it again, or run the command that made the store"
        ) from error


def write_store_manifest(folder: pathlib.Path, manifest: StoreManifest | UnfinishedStore) -> None:
    """Write the manifest of a store, completely or not at all; one that is there already stays untouched.

    Raises:
        LabelError: If it would be too large to be read.
    """
    content = _encoded_manifest(manifest, with_sources=True)
    if len(content) > MAX_MANIFEST_BYTES:
        content = _encoded_manifest(manifest, with_sources=False)
    if len(content) > MAX_MANIFEST_BYTES:
        raise LabelError(f"{folder}: a manifest of {len(content)} bytes is too large; take more rows per shard")
    path = folder / MANIFEST
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _encoded_manifest(manifest: StoreManifest | UnfinishedStore, *, with_sources: bool) -> bytes:
    goal = manifest if isinstance(manifest, StoreManifest) else manifest.goal
    told: dict[str, Any] = {"store_format_version": STORE_FORMAT_VERSION, "is_complete": goal is manifest}
    if isinstance(manifest, UnfinishedStore):
        told["names"] = sorted(manifest.names)
    shards = []
    for shard in goal.shards:
        one = {"name": shard.name, **_told_facts(shard.facts, with_sources)}
        one |= {"compacted_sha256": shard.compacted_sha256, "compacted_rows": shard.compacted_rows}
        if shard.announced is not None:
            one["announced"] = _told_facts(shard.announced, with_sources)
        shards.append(one)
    text = json.dumps({**told, "num_rows": goal.num_rows, "shards": shards}, indent=1, ensure_ascii=False)
    # Paths of files may hold what UTF-8 does not know; labels refuse those, so this is a second wall.
    return (text + "\n").encode("utf-8", "backslashreplace")


def _told_facts(facts: FileFacts, with_sources: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"num_rows": facts.num_rows, "num_bytes": facts.num_bytes, "sha256": facts.sha256}
    if with_sources and facts.sources is not None:
        told["sources"] = [dataclasses.asdict(source) for source in facts.sources]
    return told


def _manifest_of(told: Any) -> StoreManifest:
    manifest = StoreManifest(shards=tuple(map(_shard_of, told["shards"])))
    names = [shard.name for shard in manifest.shards]
    if len(set(names)) != len(names):
        raise ValueError("a shard is named twice")
    if not names or told["num_rows"] != manifest.num_rows:
        raise ValueError(f"{told['num_rows']!r} labels are told, and {manifest.num_rows} are in its shards")
    return manifest


def _shard_of(told: Any) -> Shard:
    announced = told.get("announced")
    return Shard(
        name=_name_of(told["name"]),
        facts=_facts_of(told),
        compacted_sha256=_checksum_of(told["compacted_sha256"]),
        compacted_rows=_count_of(told["compacted_rows"]),
        announced=None if announced is None else _facts_of(announced),
    )


def _facts_of(told: Any) -> FileFacts:
    sources = told.get("sources")
    if sources is not None:
        if not isinstance(sources, list):
            raise ValueError("sources are no list")
        sources = tuple(
            SourceOfShard(
                path=_text_of(source["path"]),
                sha256=_text_of(source["sha256"]),
                num_rows=_count_of(source["num_rows"]),
            )
            for source in sources
        )
    return FileFacts(
        num_rows=_count_of(told["num_rows"]),
        num_bytes=_count_of(told["num_bytes"]),
        sha256=_checksum_of(told["sha256"]),
        sources=sources,
    )


def _name_of(told: Any) -> str:
    if not isinstance(told, str) or SHARD_NAME.fullmatch(told) is None:
        raise ValueError(f"{told!r:.60} is no name of a shard")
    return told


def _text_of(told: Any) -> str:
    if not isinstance(told, str):
        raise ValueError(f"{told!r:.60} is no text")
    return told


def _count_of(told: Any) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST:
        raise ValueError(f"{told!r:.60} is no count")
    return told


def _checksum_of(told: Any) -> str:
    if not isinstance(told, str) or _SHA256.fullmatch(told) is None:
        raise ValueError(f"{told!r:.60} is no checksum")
    return told
