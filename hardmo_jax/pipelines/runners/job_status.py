"""What is left of a job, read from its folder by whoever wants to know, while it runs or afterwards."""

import dataclasses
import datetime
import pathlib
from typing import Any

from hardmo_jax.labels.sharded_store import StoreCheck, read_store_manifest, verify_store
from hardmo_jax.pipelines.output_folders import OutputFolderError
from hardmo_jax.pipelines.runners.job_folder import LABELS, is_held, is_removed, read_job
from hardmo_jax.pipelines.runners.job_progress import FILE, HEARTBEAT_SECONDS, last_progress
from hardmo_jax.pipelines.runners.manifest import ItemState, read_item_states

#: States of a run that is over.
ENDED = ("done", "partly", "stopped", "unpublished", "crashed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardStatus:
    """One of the machines that share a job."""

    name: str
    """Such as `2 of 4`; empty where there is one."""
    is_running: bool
    """Whether a process holds the shard, or told how far it is a moment ago."""
    progress: dict[str, Any] | None
    """What it said last; None if it has said nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How far a job is."""

    num_items: int
    num_removed: int
    """Inputs beside these that were removed, see `tools.remove`."""
    done: tuple[str, ...]
    """Items by name."""
    begun: tuple[str, ...]
    """Those in hand, or left in the middle by a run that ended."""
    failures: tuple[tuple[str, str, str], ...]
    """Name, stage and reason."""
    left: tuple[str, ...]
    """Items that nobody has begun."""
    num_labels: int
    num_pictures: int
    shards: tuple[ShardStatus, ...]
    has_store: bool
    """Whether the labels are put together."""
    store: StoreCheck | None
    """Of the label store; None where it is not there yet, or was not asked about."""

    @property
    def is_running(self) -> bool:
        """Whether any machine is at work."""
        return any(shard.is_running for shard in self.shards)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do: all inputs are labelled or failed, and the labels are put together."""
        return len(self.done) + len(self.failures) == self.num_items and self.has_store


def job_status(folder: pathlib.Path, *, verify: bool = True) -> JobStatus:
    """Read how far a job is; nothing is written.

    Args:
        folder: Of the job.
        verify: Compare the shards of its store with their checksums, which reads them all.

    Raises:
        OutputFolderError: If no job is there.
        hardmo_jax.pipelines.runners.manifest.ManifestError: If its manifest is damaged.
    """
    job = read_job(folder)
    if job is None:
        raise OutputFolderError(
            f"{folder} holds no job of several inputs; `tools.annotate --runner=local` begins one there"
        )
    states = read_item_states(folder)
    names = [item["name"] for item in job["items"] if not is_removed(item["name"])]

    def in_state(state: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in states and states[name].state == state)

    store = folder / LABELS
    failed: list[tuple[str, ItemState]] = [(name, states[name]) for name in in_state("failed")]
    return JobStatus(
        num_items=len(names),
        num_removed=len(job["items"]) - len(names),
        done=in_state("done"),
        begun=in_state("begun"),
        failures=tuple(
            (name, state.failure.stage, state.failure.reason) for name, state in failed if state.failure is not None
        ),
        left=tuple(name for name in names if name not in states),
        num_labels=sum(part.num_rows for state in states.values() for part in state.parts),
        num_pictures=sum(part.num_pictures for state in states.values() for part in state.parts),
        shards=tuple(_shards(folder, int(job["shards"]))),
        has_store=read_store_manifest(store) is not None,
        store=verify_store(store) if verify and store.is_dir() else None,
    )


def _shards(folder: pathlib.Path, count: int) -> list[ShardStatus]:
    found = []
    for number in range(1, count + 1):
        suffix = "" if count == 1 else f"-{number}-of-{count}"
        progress = last_progress(folder / f"{FILE}{suffix}.jsonl")
        found.append(
            ShardStatus(
                name="" if count == 1 else f"{number} of {count}",
                is_running=is_held(folder, suffix) or _is_fresh(progress),
                progress=progress,
            )
        )
    return found


def _is_fresh(progress: dict[str, Any] | None) -> bool:
    """Whether a machine, perhaps another one, told of itself a moment ago and did not say that it ended."""
    if progress is None or progress.get("state") in ENDED:
        return False
    try:
        said = datetime.datetime.fromisoformat(str(progress.get("time")))
        age = (datetime.datetime.now(datetime.UTC) - said).total_seconds()
    except (ValueError, TypeError):
        return False
    return 0 <= age < 3 * HEARTBEAT_SECONDS
