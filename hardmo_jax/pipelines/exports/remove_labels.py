"""A source, or one person in it, taken out of labels, data sets and drawings: afterwards no row and no pixel is left.

Each file is replaced whole or deleted, drawings before labels and the named labels last: a removal that is killed
leaves each file old or new, and the same command again completes it. Photos and videos themselves are never touched.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence

from hardmo_jax.export.dataset.dataset_facts import dataset_facts
from hardmo_jax.export.dataset.dataset_files import rewrite_shard, rows_of_shard, shard_of
from hardmo_jax.export.dataset.dataset_folder import are_checksums_right, describe_dataset_again
from hardmo_jax.labels import store
from hardmo_jax.pipelines.exports.removal_jobs import clean_job_file, job_files_that_name, jobs_below
from hardmo_jax.pipelines.exports.removal_mentions import without_mentions
from hardmo_jax.pipelines.exports.removal_places import (
    RUN_FILE,
    TOMBSTONE_FILE,
    KnownLabel,
    RemovalError,
    RemovalPlace,
    SourceName,
    json_of,
    known_label,
    removal_places,
    sources_named,
    strange_files,
)
from hardmo_jax.pipelines.output_folders import sweep_leftovers
from hardmo_jax.pipelines.shared_store import held_store
from hardmo_jax.whole_files import file_sha256, replacing

#: Version of the keys of `removed.json`.
TOMBSTONE_VERSION = 1
_MOST_NAMED = 8
#: How folders of unfinished jobs are called, which lie beside those of finished ones.
_UNFINISHED_WORK = (".annotate-", ".refine-", ".dataset-", ".export-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemovalStep:
    """One file that is, or would be, changed."""

    path: pathlib.Path
    what: str
    """What is removed of it, such as `12 labels`."""
    num_labels: int = 0
    is_deleted: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemovalSummary:
    """What was removed, or would be."""

    sources: tuple[str, ...]
    """Paths that the source has in labels; several if the same file was labelled in several places."""
    track_id: int | None
    """The person; None for all of the source."""
    num_labels: int
    """Rows, all versions of a label and all folders counted."""
    num_files_deleted: int
    steps: tuple[RemovalStep, ...]
    is_dry: bool
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Planned:
    step: RemovalStep
    do: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What a place holds, as it was read."""

    place: RemovalPlace
    labels: dict[pathlib.Path, list[KnownLabel]]
    checksums: dict[pathlib.Path, str]
    recorded: set[SourceName]

    def sources(self) -> set[SourceName]:
        return {label.source for own in self.labels.values() for label in own} | self.recorded


def remove_labels(
    labels: str | os.PathLike[str],
    *,
    source: str,
    track_id: int | None = None,
    outputs: Sequence[str | os.PathLike[str]] = (),
    dry_run: bool = False,
) -> RemovalSummary:
    """Remove every version of every label of a source, or of a person in it, and all drawings that show them.

    Of a person among others all drawings of the source go, and the pictures of the source in data sets: who else is in
    a picture, and whether somebody without a label is, nobody knows.

    Args:
        labels: Label file, or folder with runs, shards of labels or exported data sets in it or below it. The folder
            gets `removed.json`, which holds hashes of the names of removed labels and nothing else.
        source: Path as the labels name it, name of the file, or its SHA-256.
        track_id: The person; None for all.
        outputs: Further folders made of these labels: runs of `tools.refine`, data sets.
        dry_run: Change nothing.

    Returns:
        What was removed.

    Raises:
        FileNotFoundError: If a folder is missing.
        RemovalError: If a folder is none of ours, there are no labels, no such source or person, several sources of
            that name, labels or drawings are links, or somebody else writes to the labels meanwhile.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
    """
    given = [pathlib.Path(labels), *map(pathlib.Path, outputs)]
    main, *of_outputs = map(removal_places, given)
    others = [place for places in of_outputs for place in places]
    read = [_read(place) for place in _once([*others, *main])]
    every_source = set[SourceName]().union(*(contents.sources() for contents in read))
    unfinished = [one for one in read if one.place.kind == "dataset" and not are_checksums_right(one.place.folder)]
    if not every_source and not unfinished:
        raise RemovalError(f"{labels}: holds no labels, so there is nothing to remove")
    try:
        sources = sources_named(source, every_source)
    except RemovalError:
        # A removal that was killed after the last row of a data set left its card and checksums as they were.
        if not unfinished or dry_run:
            raise
        sources = set()
    is_meant = _meant(sources, track_id, read) if sources else lambda label: False
    planned = [one for contents in read for one in _plan(contents, sources, is_meant, whole=track_id is None)]
    if track_id is None:
        planned += _plan_jobs(given, sources)
    if not dry_run:
        ids = {one.label_id for contents in read for own in contents.labels.values() for one in own if is_meant(one)}
        if ids:
            _write_tombstone((given[0] if given[0].is_dir() else given[0].parent) / TOMBSTONE_FILE, ids)
        for one in planned:
            one.do()
    warnings = [
        *_warnings(given, read, sources, track_id),
        *_emptied(read, is_meant),
        *_unfinished_work(read, sweeps=not dry_run),
    ]
    steps = tuple(one.step for one in planned)
    return RemovalSummary(
        sources=tuple(sorted({one.path for one in sources})),
        track_id=track_id,
        num_labels=sum(step.num_labels for step in steps),
        num_files_deleted=sum(step.is_deleted for step in steps),
        steps=steps,
        is_dry=dry_run,
        warnings=tuple(warnings),
    )


def _once(places: Sequence[RemovalPlace]) -> list[RemovalPlace]:
    """Places without repetition; of the same one the last stays, so that the named labels are last."""
    found = {(place.folder.resolve(), place.label_files): place for place in reversed(places)}
    return list(reversed(found.values()))


def _read(place: RemovalPlace) -> _Contents:
    checksums = {path: file_sha256(path) for path in place.label_files}
    return _Contents(place, dict(place.labels()), checksums, place.recorded_sources())


# Which ---------------------------------------------------------------------------------------------------


def _meant(sources: set[SourceName], track_id: int | None, read: Sequence[_Contents]) -> Callable[[KnownLabel], bool]:
    """Which labels go.

    Raises:
        RemovalError: If the source has no such person, with those that it has.
    """
    own = [one for contents in read for labels in contents.labels.values() for one in labels if one.source in sources]
    tracks = sorted({one.track_id for one in own})
    if track_id is not None and track_id not in tracks:
        name = min(sources).path
        raise RemovalError(
            f"{name} has nobody of track_id {track_id}; it has {', '.join(map(str, tracks)) or 'nobody'}"
        )
    return lambda label: label.source in sources and track_id in (None, label.track_id)


def _warnings(
    given: Sequence[pathlib.Path], read: Sequence[_Contents], sources: set[SourceName], track_id: int | None
) -> Iterator[str]:
    paths = sorted({one.path for one in sources})
    if track_id is not None and len({one.plain_path for one in sources}) > 1:
        yield (
            f"the same file was labelled as {', '.join(paths[:_MOST_NAMED])}: person {track_id} was removed from each; "
            "look whether it is the same one"
        )
    for folder in given:
        strange = strange_files(folder, [contents.place for contents in read])
        if strange:
            more = f" and {len(strange) - _MOST_NAMED} more" if len(strange) > _MOST_NAMED else ""
            yield (
                f"{folder}: left alone, as neither annotation nor export writes it: {', '.join(strange[:_MOST_NAMED])}"
                f"{more}; look yourself whom it shows"
            )


def _emptied(read: Sequence[_Contents], is_meant: Callable[[KnownLabel], bool]) -> Iterator[str]:
    for contents in read:
        rows = [one for labels in contents.labels.values() for one in labels]
        if contents.place.kind == "dataset" and rows and all(map(is_meant, rows)):
            yield (
                f"{contents.place.folder}: the data set has no row any more, which readers of such refuse; delete it"
            )


def _unfinished_work(read: Sequence[_Contents], *, sweeps: bool) -> Iterator[str]:
    """What killed jobs left beside a folder may hold anybody; what is young may be somebody's work."""
    for folder in dict.fromkeys(contents.place.folder.resolve().parent for contents in read):
        for prefix in _UNFINISHED_WORK if sweeps else ():
            sweep_leftovers(folder, prefix)
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith(_UNFINISHED_WORK))
        if left:
            yield (
                f"{folder}: {', '.join(left[:_MOST_NAMED])} may be of a job at work, or of a killed one and hold "
                "anybody; delete what no job is at"
            )


# What of each place --------------------------------------------------------------------------------------


def _plan(
    contents: _Contents, sources: set[SourceName], is_meant: Callable[[KnownLabel], bool], *, whole: bool
) -> Iterator[_Planned]:
    """Everything to do in a place, labels last."""
    place = contents.place
    is_touched = bool(sources & contents.sources())
    for path in place.leftovers():
        yield _deletion(path, "unfinished file of a job that was killed")
    for path in place.drawings(sources, is_touched=is_touched) if sources else ():
        yield _deletion(path, "drawing")
    record = json_of(place.folder / RUN_FILE) if place.kind != "file" and whole else {}
    cleaned = without_mentions(record, sources)
    if cleaned != record:
        step = RemovalStep(path=place.folder / RUN_FILE, what="mentions of the source")
        yield _Planned(step, lambda: _write_json(place.folder / RUN_FILE, cleaned))
    if place.kind == "dataset":
        yield from _plan_dataset(contents, sources, is_meant, is_changed=cleaned != record)
        return
    for path, labels in contents.labels.items():
        count = sum(map(is_meant, labels))
        if count:
            step = RemovalStep(path=path, what=_of_labels(count), num_labels=count)
            yield _Planned(step, lambda path=path: _rewrite_labels(path, contents.checksums[path], is_meant))


def _plan_jobs(given: Sequence[pathlib.Path], sources: set[SourceName]) -> Iterator[_Planned]:
    """Records of jobs of many inputs that name the source."""
    for folder in dict.fromkeys(job for one in given for job in jobs_below(one)):
        for path in job_files_that_name(folder, sources):
            step = RemovalStep(path=path, what="mentions of the source", is_deleted=path.is_dir())
            yield _Planned(step, lambda path=path, folder=folder: clean_job_file(path, folder, sources))


def _plan_dataset(
    contents: _Contents, sources: set[SourceName], is_meant: Callable[[KnownLabel], bool], *, is_changed: bool
) -> Iterator[_Planned]:
    """Rows, and the pictures of rows that stay and may show the person; then all that is told of them."""
    folder = contents.place.folder
    for path, labels in contents.labels.items():
        count = sum(map(is_meant, labels))
        pictures = sum(one.has_picture and one.source in sources and not is_meant(one) for one in labels)
        if not count and not pictures:
            continue
        what = _of_labels(count) + (f", pictures of {pictures} other rows" if pictures else "")
        step = RemovalStep(path=path, what=what, num_labels=count)
        yield _Planned(step, lambda path=path: _rewrite_rows(path, contents.checksums[path], sources, is_meant))
        is_changed = True
    if is_changed or not are_checksums_right(folder):
        step = RemovalStep(path=folder, what="card, metadata and checksums written anew")
        yield _Planned(step, lambda: _describe(contents.place))


def _of_labels(count: int) -> str:
    return f"{count} label{'s' if count != 1 else ''}"


def _deletion(path: pathlib.Path, what: str) -> _Planned:
    return _Planned(RemovalStep(path=path, what=what, is_deleted=True), lambda: path.unlink(missing_ok=True))


def _check_unchanged(path: pathlib.Path, sha256: str) -> None:
    if file_sha256(path) != sha256:
        raise RemovalError(f"{path}: somebody else wrote to it meanwhile; run the same command again")


def _rewrite_labels(path: pathlib.Path, sha256: str, is_meant: Callable[[KnownLabel], bool]) -> None:
    with held_store(path):
        found = store.read_labels(path)
        _check_unchanged(path, sha256)
        extra = found.extra
        if extra is not None:
            for at, field in enumerate(extra.schema):
                # A dictionary would be written with the values of rows that are gone.
                if hasattr(field.type, "index_type"):
                    extra = extra.set_column(at, field.name, extra.column(at).cast(field.type.value_type))
        store.write_labels(path, [row for row in found.rows if not is_meant(known_label(row))], extra=extra)


def _rewrite_rows(
    path: pathlib.Path, sha256: str, sources: set[SourceName], is_meant: Callable[[KnownLabel], bool]
) -> None:
    _check_unchanged(path, sha256)
    rewrite_shard(
        path,
        is_kept=lambda row: not is_meant(known_label(row)),
        keeps_picture=lambda row: known_label(row).source not in sources,
    )


def _describe(place: RemovalPlace) -> None:
    found = [rows_of_shard(path) for path in place.label_files]
    facts = dataset_facts(
        [row for one in found for row in one.rows],
        num_with_pixels=sum(sum(one.have_pictures) for one in found),
        has_pixels=any(one.has_column for one in found),
    )
    shards = [shard_of(path, len(one.rows)) for path, one in zip(place.label_files, found, strict=True)]
    describe_dataset_again(place.folder, facts, shards)


def _write_tombstone(path: pathlib.Path, label_ids: Collection[str]) -> None:
    """Add hashes of label names to `removed.json`; whoever has a label can look whether it is in there, nobody else."""
    hashes = {hashlib.sha256(label_id.encode()).hexdigest() for label_id in label_ids}
    if path.exists():
        told = json_of(path).get("label_id_sha256")
        if not isinstance(told, list):
            raise RemovalError(f"{path}: is damaged, or not written by tools.remove; move it away")
        hashes |= {str(one) for one in told}
    _write_json(path, {"removed_format_version": TOMBSTONE_VERSION, "label_id_sha256": sorted(hashes)})


def _write_json(path: pathlib.Path, value: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
