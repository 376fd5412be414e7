"""From a manifest of sources to a folder of videos and photos that can be answered for.

Each file has a row that says where it comes from, what it may be used for and how it was found; what has no licence
is not fetched. A run goes on where an earlier one stopped, and asks for nothing that is there and intact.
"""

import collections
import dataclasses
import os
import pathlib
import queue
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from hardmo_jax import options as options_module
from hardmo_jax.data import categories
from hardmo_jax.labels import provenance
from hardmo_jax.perception import photos
from hardmo_jax.perception.duplicates import DuplicateOptions
from hardmo_jax.pipelines import collect_copies, collect_records, collect_source, output_folders
from hardmo_jax.pipelines.collect_manifest import Source, read_manifest
from hardmo_jax.pipelines.collect_records import ASIDE, RECORDS, Collected, Status
from hardmo_jax.pipelines.collect_source import PARTS, Place, Rejected, row_of
from hardmo_jax.pipelines.fetching import ByteBudget
from hardmo_jax.pipelines.video_sites import SiteOptions
from hardmo_jax.pipelines.web_client import FetchOptions, WebClient
from hardmo_jax.whole_files import file_sha256

RUN_RECORD = "run.json"
#: What a run leaves, besides folders of categories.
_OWN = (PARTS, ASIDE, collect_copies.FINGERPRINTS, RECORDS, RUN_RECORD)
_REPORT_SECONDS = 0.5


class CollectError(ValueError):
    """A collection that cannot be made; the message says what to change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """How sources are collected."""

    fetch: FetchOptions = dataclasses.field(default_factory=FetchOptions)
    """How the web is asked."""
    sites: SiteOptions = dataclasses.field(default_factory=SiteOptions)
    """What is done with pages of video sites."""
    duplicates: DuplicateOptions = dataclasses.field(default_factory=DuplicateOptions)
    """What counts as a copy of another file."""
    find_duplicates: bool = True
    """Whether copies are looked for; files of equal content always are."""
    hosts_at_once: int = 4
    """Different hosts that are asked side by side; each gets one request at a time."""
    local_files: Literal["copy", "reference"] = "copy"
    """Whether files of this machine are copied, or stay where they are."""
    rejected: Rejected = "aside"
    """What becomes of files that are no media, copies, or without a licence now: kept in folder `aside`, or deleted."""
    check_hashes: bool = True
    """Whether files that are there are read to see if they are intact; else their sizes are compared."""
    again: bool = False
    """Whether sources that gave no media the last time are tried again."""
    max_pixels: int = photos.MAX_PIXELS
    """Of one picture."""

    def __post_init__(self) -> None:
        if self.hosts_at_once < 1 or self.max_pixels < 1:
            raise ValueError("hosts_at_once and max_pixels must be at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectProgress:
    """How far a run is."""

    stage: Literal["check", "fetch", "compare"]
    """What is done now."""
    done: int
    """Sources or files."""
    total: int
    """Of them."""
    num_bytes: int
    """That came over the network or from the disk in this run."""
    last: str = ""
    """Source that was done last."""


Progress = Callable[[CollectProgress], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectSummary:
    """What a run did."""

    rows: tuple[Collected, ...]
    """One a source of the manifest, in its order."""
    num_fetched: int
    """Files that came in this run."""
    num_bytes: int
    """Of them."""

    def count(self, status: Status) -> int:
        """Sources of a status."""
        return sum(row.status == status for row in self.rows)

    @property
    def is_complete(self) -> bool:
        """Whether every source is there, or a copy of one that is."""
        return all(row.status in ("kept", "duplicate") for row in self.rows)


def collect(
    manifest: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    options: CollectOptions | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> CollectSummary:
    """Collect the sources of a manifest.

    Args:
        manifest: CSV, JSON lines or JSON, see `collect_manifest`.
        output_dir: Folder for files, `collected.jsonl` and `run.json`; may hold what earlier runs collected.
        options: How.
        command: Command line for the run record.
        progress: Told how far the run is, at least twice a second while files come.

    Raises:
        FileNotFoundError: If there is no manifest.
        ManifestError: If it cannot be used.
        CollectError: If the output folder holds something else.
    """
    options = options or CollectOptions()
    report = progress or (lambda now: None)
    manifest, output = pathlib.Path(manifest), pathlib.Path(output_dir)
    sources = read_manifest(manifest)
    record = provenance.RunRecord(config=options_module.to_mapping(options), command=command or ("collect",))
    record.add_file("manifest", manifest)
    _check_output(output, manifest)
    output.mkdir(parents=True, exist_ok=True)
    place = Place(
        output=output,
        sources=manifest.parent,
        rejected=options.rejected,
        is_reference=options.local_files == "reference",
        max_pixels=options.max_pixels,
    )
    names = {source.source for source in sources}
    listed_names = collect_records.SourceNames(names)
    listed_rows = listed_names.meant(collect_records.read_records(output))
    found = {name: collect_source.with_place(row, place) for name, row in listed_rows.items()}
    # Rows of other manifests stay as long as their files do.
    known = {name: row for name, row in found.items() if name in names or _has_file(row, place)}
    others = [row for name, row in known.items() if name not in names]
    with record.stage("check"):
        rows, missing = _planned(sources, known, place, options, report)
        collect_source.sweep_parts(place, (source.source for source in missing))
    kept_before = {row.source for row in rows.values() if row.status == "kept"}
    taken = sum(row.bytes or 0 for row in known.values() if row.file is not None and not row.is_reference)
    counter = _Counter()
    budget = ByteBudget(options.fetch.most_gigabytes * 1e9 - taken, counter.add)
    with record.stage("fetch"), collect_records.RecordsWriter(output, listed_names) as writer:
        for source, row in _obtained(missing, place, options, budget, counter, report):
            writer.add(row)
            if row.status in ("kept", "not_media"):
                collect_source.forget_part(source, place)
            rows[source.source] = row
    fetched = [rows[source.source] for source in missing if rows[source.source].file is not None]
    with record.stage("compare"):
        # Whoever was kept first stays; else the order of the manifest counts.
        first = [*others, *(row for row in rows.values() if row.source in kept_before)]
        pool = [*first, *(row for row in rows.values() if row.source not in kept_before)]
        compared = collect_copies.marked_copies(
            pool,
            place,
            options.duplicates if options.find_duplicates else None,
            report=lambda done, total: report(
                CollectProgress(stage="compare", done=done, total=total, num_bytes=counter.count)
            ),
        )
    by_source = {row.source: row for row in compared}
    listed = tuple(_of_line(source, by_source, sources) for source in sources)
    unique = {row.source: row for row in (*(by_source[name] for name in rows), *(by_source[o.source] for o in others))}
    collect_records.write_records(output, unique.values(), listed_names)
    summary = CollectSummary(rows=listed, num_fetched=len(fetched), num_bytes=counter.count)
    record.add("statuses", dict(collections.Counter(row.status for row in listed)))
    record.add("sources", len(sources))
    record.add("files_fetched", summary.num_fetched)
    record.add("bytes_fetched", summary.num_bytes)
    record.write(output / RUN_RECORD)
    return summary


class _Counter:
    """Bytes that came."""

    def __init__(self) -> None:
        self.count = 0
        self._guard = threading.Lock()

    def add(self, count: int) -> None:
        with self._guard:
            self.count += count


def _check_output(output: pathlib.Path, manifest: pathlib.Path) -> None:
    """Refuse a folder that others use, or out of which links lead."""
    names = (*(category.name for category in categories.CATEGORIES), *_OWN)
    output_folders.check_output_folder(
        output, manifest, names, job="collect", source_lies=f"the manifest {manifest} lies", error=CollectError
    )
    for name in names:
        for path in (output / name, output / ASIDE / name):
            if path.is_symlink():
                raise CollectError(f"{path} is a link, through which files would leave {output}; remove it")


def _of_line(source: Source, rows: dict[str, Collected], sources: Sequence[Source]) -> Collected:
    """The row of a line; lines that name a source again, with something else about it, are refused."""
    first = next(one for one in sources if one.source == source.source)
    row = rows[source.source]
    if (first.category, first.licence) == (source.category, source.licence):
        return _said_again(row, source)
    return row_of(source, "refused", f"is listed before as {first.category} under {first.licence or 'no licence'!r}")


def _planned(
    sources: Sequence[Source],
    known: dict[str, Collected],
    place: Place,
    options: CollectOptions,
    report: Progress,
) -> tuple[dict[str, Collected], list[Source]]:
    """Rows that hold already, in the order of the manifest, and sources that must be got."""
    rows: dict[str, Collected] = {}
    missing: list[Source] = []
    for number, source in enumerate(sources):
        report(CollectProgress(stage="check", done=number, total=len(sources), num_bytes=0, last=source.source))
        if source.source in rows:
            continue
        row = known.get(source.source)
        if not source.has_licence:
            rows[source.source] = _without_licence(source, row, place)
            continue
        if row is not None and row.status == "refused" and row.width is not None:
            # Was kept until its licence was taken back, and has one again.
            row = dataclasses.replace(row, status="kept", reason="")
        if row is not None and _is_there(row, source, place, options, known):
            rows[source.source] = _said_again(row, source)
        else:
            if row is not None and row.file is not None and _has_file(row, place):
                # Not what was fetched: somebody may have changed it on purpose, so that it is kept.
                collect_source.set_aside(row, dataclasses.replace(place, rejected="aside"))
            # Keeps the order; replaced by what comes.
            rows[source.source] = row_of(source, "failed", "was not tried")
            missing.append(source)
    return rows, missing


def _without_licence(source: Source, row: Collected | None, place: Place) -> Collected:
    """The row of a source that may not be used; what came of it while it might leaves its category's folder."""
    reason = "has no licence; nothing may be done with it"
    if row is not None and _has_file(row, place):
        row = _said_again(row, source)
        file = collect_source.set_aside(row, place)
        if file is not None:
            return dataclasses.replace(row, status="refused", reason=reason, file=file, duplicate_of=None)
    return row_of(source, "refused", reason)


def _is_there(
    row: Collected, source: Source, place: Place, options: CollectOptions, known: dict[str, Collected]
) -> bool:
    """Whether nothing needs to be fetched for a source."""
    if source.sha256 and row.sha256 and source.sha256 != row.sha256:
        return False
    if row.status == "not_media":
        return not options.again
    if row.status not in ("kept", "duplicate"):
        return False
    if row.file is None:
        # A copy that was deleted: what it is a copy of must still be there.
        return row.status == "duplicate" and row.duplicate_of in known
    path = place.output / row.file
    if not _has_file(row, place) or path.stat().st_size != row.bytes:
        return False
    return not options.check_hashes or file_sha256(path) == row.sha256


def _has_file(row: Collected, place: Place) -> bool:
    """Whether the file of a row is there, in the output folder or, if it is referred to, where it was."""
    if row.file is None:
        return False
    if row.is_reference:
        return pathlib.Path(row.file).is_file()
    return collect_source.is_inside(place.output, row.file)


def _said_again(row: Collected, source: Source) -> Collected:
    """A row with what the manifest says now."""
    return dataclasses.replace(
        row,
        category=source.category,
        licence=source.licence,
        query=source.query,
        title=source.title or row.title,
        author=source.author or row.author,
        start_seconds=source.start_seconds,
        end_seconds=source.end_seconds,
    )


def _obtained(
    sources: Sequence[Source],
    place: Place,
    options: CollectOptions,
    budget: ByteBudget,
    counter: _Counter,
    report: Progress,
) -> Iterator[tuple[Source, Collected]]:
    """Get sources, those of one host after each other, several hosts side by side; in the order they come."""
    client = WebClient(options.fetch)
    by_host: dict[str, list[Source]] = {}
    for source in sources:
        host = urllib.parse.urlsplit(source.source).netloc.lower() if source.is_address else ""
        by_host.setdefault(host, []).append(source)
    hosts: queue.SimpleQueue[list[Source]] = queue.SimpleQueue()
    for group in sorted(by_host.values(), key=len, reverse=True):
        hosts.put(group)
    results: queue.SimpleQueue[tuple[Source, Collected | Exception]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                group = hosts.get_nowait()
            except queue.Empty:
                return
            for source in group:
                try:
                    results.put((source, collect_source.obtain_source(source, place, client, options.sites, budget)))
                except Exception as error:  # raised where the run is, not in a thread of its own
                    results.put((source, error))
                    return

    for _ in range(min(options.hosts_at_once, len(by_host))):
        # Daemons: who stops the run does not wait for a slow host, and what came of a file stays.
        threading.Thread(target=work, daemon=True).start()
    done, last = 0, ""
    while done < len(sources):
        report(CollectProgress(stage="fetch", done=done, total=len(sources), num_bytes=counter.count, last=last))
        try:
            source, row = results.get(timeout=_REPORT_SECONDS)
        except queue.Empty:
            continue
        if isinstance(row, Exception):
            raise row
        done, last = done + 1, source.source
        yield source, row
    report(CollectProgress(stage="fetch", done=done, total=len(sources), num_bytes=counter.count, last=last))
