"""The label store of a job: parts of all inputs in their order, in shards with checksums, once nothing is left."""

import pathlib
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hardmo_jax.labels import provenance
from hardmo_jax.labels.sharded_store import (
    StoreIncompleteError,
    compact_labels,
    read_store_manifest,
    verify_store,
)
from hardmo_jax.pipelines.output_folders import OutputFolderError
from hardmo_jax.pipelines.runners.job_folder import LABELS, PARTS, Job
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.manifest import Failure, ItemState, Manifest, PartRecord
from hardmo_jax.whole_files import file_sha256, make_folders, sync_file

#: Parts that are in the store and on their way out.
_PUBLISHED = ".published-parts-"


def whole_parts(job: Job, item: JobItem, state: ItemState, *, hashes: bool = False) -> list[PartRecord]:
    """The leading takes of an item whose files are there, as large as they were.

    Args:
        job: It is of.
        item: Whose parts are looked at.
        state: What was written down.
        hashes: Read the files, and compare their checksums too.
    """
    folder, found = job.parts_of(item), []
    for part in state.parts:
        path = folder / part.file
        if not path.is_file() or path.stat().st_size != part.num_bytes:
            break
        if hashes and file_sha256(path) != part.sha256:
            break
        found.append(part)
    return found


def is_published(job: Job, states: Mapping[str, ItemState]) -> bool:
    """Whether the store is there and holds all that is labelled."""
    manifest = read_store_manifest(job.folder / LABELS)
    if manifest is None:
        return False
    # People may have corrected labels since.
    twice = {item.name for item in items_twice(job, states)}
    return manifest.num_compacted_rows == sum(
        part.num_rows for name, state in states.items() if name not in twice for part in state.parts
    )


def items_twice(job: Job, states: Mapping[str, ItemState]) -> list[JobItem]:
    """Videos that are the same file, by name and content, as one before them: a label of both would be one label."""
    seen: set[tuple[str, str]] = set()
    found = []
    for item in job.items:
        state = states.get(item.name)
        sha256 = state.parts[0].told.get("source_sha256") if state is not None and state.parts else None
        if sha256 is None:
            continue
        key = (item.source.name, str(sha256))
        if key in seen:
            found.append(item)
        seen.add(key)
    return found


def check_store(job: Job) -> None:
    """Compare the store of a job that is done with its checksums.

    Raises:
        StoreIncompleteError: If a shard is missing, or not what was written.
    """
    check = verify_store(job.folder / LABELS)
    if not check.is_complete:
        raise StoreIncompleteError(
            f"{check.told()}; copy the shard from where it still is, or label anew with another --output_dir"
        )


def num_labels_of(job: Job) -> int:
    """Labels in the store."""
    manifest = read_store_manifest(job.folder / LABELS)
    return 0 if manifest is None else manifest.num_rows


def warnings_of(job: Job, states: Mapping[str, ItemState]) -> tuple[tuple[str, int], ...]:
    """What was odd, and of how many inputs of a shard, the most frequent first."""
    counts: Counter[str] = Counter()
    for item in job.own_items:
        state = states.get(item.name)
        if state is not None:
            counts.update(dict.fromkeys(_warnings_of(state), 1))
    return tuple(counts.most_common())


def _warnings_of(state: ItemState) -> list[str]:
    own = [warning for part in state.parts for warning in part.told.get("warnings", ())]
    return list(dict.fromkeys(map(str, [*state.told.get("warnings", ()), *own])))


def damaged_items(job: Job, manifest: Manifest) -> list[str]:
    """Items whose parts are not what was written; each is done again by the next run of its shard.

    Args:
        job: All of whose items are done or failed.
        manifest: Of this shard.

    Raises:
        OutputFolderError: If only items of other shards are damaged, which this one cannot do again.
    """
    found, of_others = [], []
    own = {item.name for item in job.own_items}
    for item in job.items:
        state = manifest.items.get(item.name)
        for part in [] if state is None else state.parts:
            path = job.parts_of(item) / part.file
            if not path.is_file() or file_sha256(path) != part.sha256:
                if item.name not in own:
                    # Another manifest speaks of it: a line in this one would follow nothing.
                    of_others.append(path)
                    break
                if path.is_file():
                    path.replace(path.with_name(f".damaged-{path.name}"))
                reason = f"{path}: the labels on disk are not those that were written; run the same command again"
                manifest.fail(item.name, Failure(stage="write", reason=reason))
                found.append(item.name)
                break
    if of_others and not found:
        raise OutputFolderError(
            f"{of_others[0]}: the labels of another shard on disk are not those that were written "
            f"({len(of_others)} inputs); run the commands of the other shards again"
        )
    return found + [path.parent.name for path in of_others]


def drop_parts(job: Job) -> None:
    """Take away parts that are in the store: all at once, so that a kill leaves no part of them.

    Some that are missing would look like labels that were lost.
    """
    for left in job.folder.glob(f"{_PUBLISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    if (job.folder / PARTS).is_dir():
        gone = job.folder / f"{_PUBLISHED}{secrets.token_hex(8)}"
        (job.folder / PARTS).replace(gone)
        sync_file(job.folder)
        shutil.rmtree(gone, ignore_errors=True)


def publish(job: Job, manifest: Manifest, record: provenance.RunRecord) -> pathlib.Path:
    """Write shards, their manifest and `run.json`; parts go when nothing of them is needed any more.

    Args:
        job: All of whose items are done or failed.
        manifest: What became of them.
        record: Of the run.

    Returns:
        Folder of the store.
    """
    folder = job.folder / LABELS
    parts: list[Sequence[pathlib.Path]] = []
    twice = items_twice(job, manifest.items)
    for item in job.items:
        state = manifest.items.get(item.name)
        if state is not None and state.parts and item not in twice:
            parts.append([job.parts_of(item) / part.file for part in state.parts])
    # What is said of the labels is there before they are: a kill in between leaves nothing that looks complete.
    for name, value in job_results(job, manifest.items).items():
        record.add(name, value)
    record.add("same_as_another", [item.name for item in twice])
    make_folders(folder)
    record.write(folder / "run.json")
    compact_labels(parts, folder)
    if all(state.state == "done" for state in manifest.items.values()):
        drop_parts(job)
    return folder


def job_results(job: Job, states: Mapping[str, ItemState]) -> dict[str, Any]:
    """What `run.json` says of a job."""
    inputs, failures, sources = [], [], {}
    seconds: dict[str, float] = {}
    for item in job.items:
        state = states.get(item.name)
        if state is None:
            continue
        if state.failure is not None:
            failures.append({"input": item.source.name, "item": item.name, "stage": state.failure.stage,
                             "reason": state.failure.reason})  # fmt: skip
        for part in state.parts:
            for stage, value in part.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + value
            if part.told.get("source_sha256"):
                sources[item.source.name] = part.told["source_sha256"]
        inputs.append(
            {
                "input": item.source.name,
                "item": item.name,
                "state": state.state,
                "pictures": sum(part.num_pictures for part in state.parts),
                "labels": sum(part.num_rows for part in state.parts),
                "unusable": int(state.told.get("num_unusable", 0)),
                "warnings": _warnings_of(state),
            }
        )
    return {
        "inputs": inputs,
        "failures": failures,
        "sources": sources,
        "stage_seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "summary": _summary([part for state in states.values() for part in state.parts]),
    }


def _summary(parts: Sequence[PartRecord]) -> dict[str, Any]:
    status: dict[str, int] = {}
    for part in parts:
        for name, count in part.told.get("status", {}).items():
            status[name] = status.get(name, 0) + count
    return {
        "people": sum(part.told.get("people", 0) for part in parts),
        "filled": sum(part.told.get("filled", 0) for part in parts),
        "status": status,
    }
