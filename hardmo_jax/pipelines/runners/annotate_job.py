"""A job of many inputs from the command to the label store, with the runner that is asked for."""

import contextlib
import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from hardmo_jax.labels import provenance
from hardmo_jax.perception import load_source
from hardmo_jax.pipelines.annotate_many import sources_below
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners import job_folder, publish
from hardmo_jax.pipelines.runners.job_folder import (
    Job,
    begin_job,
    check_job_folder,
    held_job,
    held_store_of_job,
    read_job,
    without_removed,
)
from hardmo_jax.pipelines.runners.job_items import JobItem, JobShard, items_of_sources
from hardmo_jax.pipelines.runners.job_progress import FILE, Heartbeat, JobProgress
from hardmo_jax.pipelines.runners.ledger import JobLedger
from hardmo_jax.pipelines.runners.local import LocalOptions, LocalRunner
from hardmo_jax.pipelines.runners.manifest import ItemState, Manifest
from hardmo_jax.pipelines.runners.ray import RayOptions, RayRunner


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How a run of a job ended."""

    store: pathlib.Path | None
    """The label store; None if inputs are left, here or with other shards."""
    num_items: int
    """Inputs of this shard, where photos count as some at a time."""
    num_labelled_before: int
    """That earlier runs had done."""
    num_done: int
    """That are labelled now."""
    failures: tuple[tuple[str, str], ...]
    """Inputs that cannot be labelled, and why."""
    num_unusable: int
    """Pictures that could not be used."""
    num_labels: int
    """In the store, or of this shard where it is not there yet."""
    warnings: tuple[tuple[str, int], ...]
    """What was odd, and of how many inputs of this shard, the most frequent first."""
    num_left: int
    """Inputs of this shard that are neither labelled nor failed: the run was told to stop, or to do so many."""
    progress: JobProgress
    """As it was at the end."""


def annotate_job(
    sources: Sequence[str | os.PathLike[str]],
    output_folder: str | os.PathLike[str],
    *,
    options: AnnotateOptions,
    model_folder: str | os.PathLike[str],
    shard: JobShard | None = None,
    runner: LocalOptions | RayOptions | None = None,
    limit_inputs: int | None = None,
    compiled: str | None = None,
    command: tuple[str, ...] = (),
    tell: Callable[[JobProgress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> JobOutcome:
    """Label many inputs into one label store; the same call goes on where an earlier one ended.

    Args:
        sources: Videos, photos, keypoint files, folders of photos; a folder of videos is all of them.
        output_folder: Of the job, see `job_folder`.
        options: Of all inputs; pictures are not drawn.
        model_folder: Where the packaged perception models are.
        shard: Which of several machines that share the folder this is.
        runner: Who does it, and how a machine or cluster is used; None is this machine.
        limit_inputs: Items that are begun at most.
        compiled: Folder of compiled programs for the processes; None is that of JAX.
        command: Command line, for `run.json`.
        tell: Told every few seconds how far the job is.
        stop: Once set, what is in hand is finished and nothing else begun.

    Raises:
        OutputFolderError: If the folder is of another job, or another run is at work there.
        FileNotFoundError: If a model, the body file, or an input of a job that is to begin is missing.
        StoreIncompleteError: If the job is done, and its labels on disk are not those that were written.
        hardmo_jax.pipelines.runners.ray.RayClusterError: If a cluster cannot be reached, or is open to everybody.
        hardmo_jax.pipelines.runners.local.WorkersFailError: If processes end before they do anything.
        hardmo_jax.pipelines.runners.manifest.ManifestError: If the manifest is damaged.
    """
    folder, shard, stop = pathlib.Path(output_folder), shard or JobShard(), stop or threading.Event()
    # Nothing is drawn, so how does not matter.
    options = dataclasses.replace(options, output=dataclasses.replace(options.output, overlay=False))
    if read_job(folder) is None:
        for source in sources:
            if not os.path.lexists(source):
                raise FileNotFoundError(f"{source}: no such file or folder; nothing was begun")
    items = without_removed(items_of_sources(sources_below(sources, folder), options), folder)
    job = Job(folder=folder, items=items, options=options, model_folder=pathlib.Path(model_folder), shard=shard)
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=command)
    # What is wrong with options and models is found before anything is begun; the job's description loads the body.
    load_source.load_source(model_folder, options.perception)
    for own in load_source.own_files(options.perception, model_folder):
        record.add_file(own.name, own)
    check_job_folder(job)
    record.add("depends_on", job.description["depends_on"])
    with held_job(job):
        begin_job(job)
        manifest = Manifest(folder, shard.suffix)
        todo = _todo(job, manifest)
        num_before = len(job.own_items) - len(todo)
        # Those that failed before come last, so that they do not keep a run that may begin few from all others.
        todo.sort(key=lambda item: getattr(manifest.items.get(item.name), "state", "") == "failed")
        chosen = todo if limit_inputs is None else todo[:limit_inputs]
        # Long inputs first: the last ones to be done keep one process busy and the others idle.
        chosen = sorted(chosen, key=lambda item: -(item.num_bytes or 0))
        ledger = JobLedger(job, manifest)
        run = _runner(job, ledger, chosen, runner or LocalOptions(), compiled=compiled, stop=stop)
        state = ["running"]

        def progress() -> JobProgress:
            return ledger.progress("stopping" if stop.is_set() and state[0] == "running" else state[0])

        start = time.perf_counter()
        try:
            with Heartbeat(folder / f"{FILE}{shard.suffix}.jsonl", progress, tell), _telling_of_crashes(state):
                run.run()
                state[0] = "publishing"
                labelled = time.perf_counter()
                store = _published(job, manifest, record, labelled - start)
                ledger.add_seconds("publish", time.perf_counter() - labelled)
                state[0] = _end_of(job, manifest, store)
        finally:
            manifest.close()
        last = progress()
    own = [manifest.items.get(item.name) for item in job.own_items]
    known = [item for item in own if item is not None]
    return JobOutcome(
        store=store,
        num_items=len(own),
        num_labelled_before=num_before,
        num_done=sum(item.state == "done" for item in known),
        failures=tuple(
            (item.source.name, failure.reason)
            for item in job.own_items
            if (state_of := manifest.items.get(item.name)) is not None
            and state_of.state == "failed"
            and (failure := state_of.failure) is not None
        ),
        num_unusable=sum(int(item.told.get("num_unusable", 0)) for item in known),
        num_labels=sum(part.num_rows for item in known for part in item.parts)
        if store is None
        else publish.num_labels_of(job),
        warnings=publish.warnings_of(job, manifest.items),
        num_left=sum(item is None or item.state == "begun" for item in own),
        progress=last,
    )


@contextlib.contextmanager
def _telling_of_crashes(state: list[str]) -> Iterator[None]:
    """Say of a run that ends in an error that it does."""
    try:
        yield
    except BaseException:
        state[0] = "crashed"
        raise


def _runner(
    job: Job,
    ledger: JobLedger,
    todo: list[JobItem],
    options: LocalOptions | RayOptions,
    *,
    compiled: str | None,
    stop: threading.Event,
) -> LocalRunner | RayRunner:
    if isinstance(options, RayOptions):
        return RayRunner(job, ledger, todo, options, compiled=compiled, stop=stop)
    return LocalRunner(job, ledger, todo, options, compiled=compiled, stop=stop)


def _todo(job: Job, manifest: Manifest) -> list[JobItem]:
    """Items of this shard that are not done; of those begun, what is missing on disk is forgotten.

    Raises:
        StoreIncompleteError: If all is done, and a shard of the store is not what was written.
    """
    if publish.is_published(job, manifest.items) and not any(
        _is_left(item, manifest.items.get(item.name)) for item in job.items
    ):
        if not (job.folder / job_folder.PARTS).exists():
            publish.check_store(job)
        return []
    todo = []
    # Where all is labelled and not put together, perhaps for damage that another machine told of, files are read.
    is_ended = not any(_is_left(item, manifest.items.get(item.name)) for item in job.own_items)
    for item in job.own_items:
        state = manifest.items.get(item.name)
        if state is not None:
            parts = publish.whole_parts(job, item, state, hashes=is_ended)
            if len(parts) < len(state.parts):
                # Written down: whoever puts the labels together must not look for them.
                state = manifest.begin(item.name, item.num_bytes, kept_parts=len(parts))
        if _is_left(item, state):
            todo.append(item)
    return todo


def _is_left(item: JobItem, state: ItemState | None) -> bool:
    return state is None or state.state != "done" or state.num_bytes != item.num_bytes


def _published(job: Job, manifest: Manifest, record: provenance.RunRecord, seconds: float) -> pathlib.Path | None:
    """The store, if no item of any shard is left."""
    fresh = Manifest(job.folder, job.shard.suffix)
    states = fresh.items
    if any(states.get(item.name) is None or states[item.name].state == "begun" for item in job.items):
        return None
    with held_store_of_job(job.folder) as is_ours:
        if not is_ours:
            return None
        folder = job.folder / job_folder.LABELS
        if publish.is_published(job, states) and not (job.folder / job_folder.PARTS).exists():
            publish.drop_parts(job)
            return folder
        if publish.damaged_items(job, fresh):
            manifest.read_again()
            return None
        record.seconds["run"] = seconds
        return publish.publish(job, fresh, record)


def _end_of(job: Job, manifest: Manifest, store: pathlib.Path | None) -> str:
    states = [manifest.items.get(item.name) for item in job.own_items]
    if any(state is None or state.state == "begun" for state in states):
        return "stopped"
    others = [manifest.items.get(item.name) for item in job.items]
    if store is None and all(state is not None and state.state != "begun" for state in others):
        return "unpublished"
    return "partly" if any(state is not None and state.state == "failed" for state in states) else "done"
