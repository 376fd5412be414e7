"""The folder of a job of many inputs: what was asked for, so that the same command goes on with it, and no other.

    job.json                what is to be done: options, what labels depend on, inputs
    manifest/items.jsonl    what has become of each input and take
    progress.jsonl          how far the job is, every few seconds
    parts/ITEM/00000.parquet    labels of takes, until all inputs are done
    labels/                 the label store: shards of whole inputs, their checksums, run.json

Machines that share a job (`JobShard`) share the folder; each has a manifest and progress of its own.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hardmo_jax
from hardmo_jax.file_locks import held_lock, lock_file
from hardmo_jax.labels import provenance
from hardmo_jax.labels.store_places import STORE_FOLDER
from hardmo_jax.perception import load_source
from hardmo_jax.pipelines.annotate import depends_on
from hardmo_jax.pipelines.annotate_options import AnnotateOptions, load_body_option
from hardmo_jax.pipelines.output_folders import OutputFolderError
from hardmo_jax.pipelines.runners.job_items import JobItem, JobShard
from hardmo_jax.whole_files import make_folders

JOB_FORMAT_VERSION = 1
JOB_FILE, PARTS, LABELS = "job.json", "parts", STORE_FOLDER
_MAX_JOB_BYTES = 2 << 30
_PATIENCE_SECONDS = 60.0
#: What an item is called of which the source was removed.
REMOVED = "removed"
#: Names that a job leaves, and their beginnings.
_OWN, _OWN_PREFIXES = (JOB_FILE, PARTS, LABELS, "manifest"), (".lock", ".writing-", "progress", ".published-parts-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it was asked for."""

    folder: pathlib.Path
    items: tuple[JobItem, ...]
    """All of them, whoever does them."""
    options: AnnotateOptions
    model_folder: pathlib.Path
    shard: JobShard

    @property
    def own_items(self) -> list[JobItem]:
        """Those of this shard: every so many, so that long and short inputs that lie together are spread."""
        return list(self.items[self.shard.number - 1 :: self.shard.count])

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """What must be the same for a folder to be gone on with; models are read and the body is loaded once for it."""
        return _described(self)

    def parts_of(self, item: JobItem) -> pathlib.Path:
        """Folder of the labels of an item until all are done."""
        return self.folder / PARTS / item.name


def check_job_folder(job: Job) -> dict[str, Any] | None:
    """See that a folder is of this job, or may become so; nothing is written.

    Returns:
        What is to be written down of a job that begins; None if it has begun.

    Raises:
        OutputFolderError: If it is of another job or of none, lies below an input, or holds one.
    """
    folder = job.folder
    if folder.exists() and not folder.is_dir():
        raise OutputFolderError(f"{folder} is a file; give a folder as --output_dir, e.g. --output_dir=out/job")
    # Unlike `resolve`, this leaves a link that leads back to itself to who opens it, as one input of many.
    inside = os.path.realpath(folder)
    for item in job.items:
        if pathlib.Path(os.path.realpath(item.source)).is_relative_to(inside):
            raise OutputFolderError(f"the input {item.source} lies in the output folder {folder}; give another one")
    told = job.description
    known = read_job(folder)
    if known is not None:
        _check_same(told, known, folder)
        return None
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in present if name not in _OWN and not name.startswith(_OWN_PREFIXES)]
    if foreign:
        raise OutputFolderError(
            f"{folder} holds {foreign[0]!r} and no job of several inputs; give an empty folder as --output_dir"
        )
    return told


def begin_job(job: Job) -> None:
    """Write down what is to be done, or see that the folder is of the same job.

    Raises:
        OutputFolderError: See `check_job_folder`.
    """
    told = check_job_folder(job)
    if told is None:
        return
    goal = job.folder / JOB_FILE
    # Shards of one job begin at the same moment: the first says what it is of, the others compare.
    with held_lock(job.folder / ".lock-job", patience_seconds=_PATIENCE_SECONDS) as is_held_now:
        if not is_held_now:
            raise OutputFolderError(f"{goal}: another run has been beginning the job for long; stop it")
        if check_job_folder(job) is None:
            return
        with provenance.replacing(goal) as temporary:
            temporary.write_text(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def without_removed(items: Sequence[JobItem], folder: pathlib.Path) -> tuple[JobItem, ...]:
    """Items of a job without those of which the source was removed; they keep their numbers.

    Args:
        items: As the inputs are today.
        folder: Of the job.
    """
    known = read_job(folder)
    gone = set() if known is None else {item["name"] for item in known["items"] if is_removed(item["name"])}
    return tuple(item for item in items if f"{item.name.partition('_')[0]}_{REMOVED}" not in gone)


def is_removed(name: str) -> bool:
    """Whether the source of an item was removed."""
    return name.partition("_")[2] == REMOVED


def read_job(folder: pathlib.Path) -> dict[str, Any] | None:
    """What `job.json` of a folder says; None if there is none.

    Raises:
        OutputFolderError: If it is damaged, or of a newer version.
    """
    path = folder / JOB_FILE
    try:
        if path.stat().st_size > _MAX_JOB_BYTES:
            raise OutputFolderError(f"{path}: larger than any job; give another --output_dir")
        found = json.loads(path.read_bytes())
        version, items = found["job_format_version"], found["items"]
        is_one = isinstance(version, int) and isinstance(found["shards"], int) and 1 <= found["shards"] <= 1_000_000
        if not is_one or not all(isinstance(item["name"], str) for item in items):
            raise OutputFolderError(f"{path}: no description of a job; give another --output_dir")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OutputFolderError):
            raise
        raise OutputFolderError(f"{path}: damaged ({error}); give another --output_dir") from error
    if version > JOB_FORMAT_VERSION:
        raise OutputFolderError(
            f"{path}: of a newer hardmo_jax (format {version}, known up to {JOB_FORMAT_VERSION}); update it"
        )
    return found


@contextlib.contextmanager
def held_job(job: Job) -> Iterator[None]:
    """Keep a second run of the same shard out while the block runs; one that is killed lets go.

    Raises:
        OutputFolderError: If another one is at work, or one with another number of shards has begun the job.
    """
    make_folders(job.folder)
    with (job.folder / f".lock{job.shard.suffix}").open("a") as file:
        # Whoever asks how far a job is holds it for a moment.
        if not lock_file(file) and not (time.sleep(1.0) or lock_file(file)):
            raise OutputFolderError(
                f"another run is at work in {job.folder}; wait for it, or give another --output_dir"
            )
        yield


@contextlib.contextmanager
def held_store_of_job(folder: pathlib.Path) -> Iterator[bool]:
    """Hold what is written when all shards are done; whether nobody else does.

    Args:
        folder: Of the job.
    """
    with (folder / ".lock-labels").open("a") as file:
        yield lock_file(file)


def is_held(folder: pathlib.Path, suffix: str = "") -> bool:
    """Whether a run is at work in a folder.

    Args:
        folder: Of the job.
        suffix: Of the shard.
    """
    try:
        with (folder / f".lock{suffix}").open("r") as file:
            return not lock_file(file)
    except OSError:
        return False


def _described(job: Job) -> dict[str, Any]:
    record = provenance.RunRecord(config=dataclasses.asdict(job.options))
    for own in load_source.own_files(job.options.perception, job.model_folder):
        record.add_file(own.name, own)
    record.add("depends_on", depends_on(job.options, load_body_option(job.options.body)))
    # Through JSON, and without the user's home.
    plain = json.loads(json.dumps(record.to_dict()))
    return {
        "job_format_version": JOB_FORMAT_VERSION,
        "hardmo_jax": hardmo_jax.__version__,
        "config": plain["config"],
        "files": {name: file["sha256"] for name, file in plain["files"].items()},
        "depends_on": plain["results"]["depends_on"],
        "shards": job.shard.count,
        "items": [{"name": item.name, "photos": len(item.photos)} for item in job.items],
    }


def _check_same(asked: Mapping[str, Any], known: Mapping[str, Any], folder: pathlib.Path) -> None:
    """See that two descriptions are of one job."""
    # Sources that were removed since are none of today's.
    known = {**known, "items": [item for item in known["items"] if not is_removed(item["name"])]}
    for what, hint in (
        ("hardmo_jax", "version of hardmo_jax"),
        ("config", "options"),
        ("files", "models or files"),
        ("depends_on", "body or learnt files"),
        ("shards", "number of shards"),
        ("items", "inputs"),
    ):
        if asked[what] != known.get(what):
            named = _first_difference(asked[what], known.get(what))
            raise OutputFolderError(
                f"{folder} is of a job with other {hint} ({named}); give the command that began it, or another "
                "--output_dir"
            )


def _first_difference(asked: Any, known: Any, name: str = "") -> str:
    """Where two plain values differ."""
    if isinstance(asked, Mapping) and isinstance(known, Mapping):
        for key in [*asked, *known]:
            if asked.get(key) != known.get(key):
                return _first_difference(asked.get(key), known.get(key), f"{name}.{key}" if name else str(key))
    if isinstance(asked, Sequence) and isinstance(known, Sequence) and not isinstance(asked, str):
        if len(asked) != len(known):
            return f"{name}: {len(known)} then, {len(asked)} now".lstrip(": ")
        for one, other in zip(asked, known, strict=True):
            if one != other:
                return _first_difference(one, other, name)
    told, was = (json.dumps(value, ensure_ascii=False)[:80] for value in (asked, known))
    return f"{name}: {was} then, {told} now".lstrip(": ")


def environment_of_workers() -> dict[str, str]:
    """Environment of processes that a job starts: as ours, with the package where ours is."""
    package = pathlib.Path(hardmo_jax.__file__).parent.parent
    paths = [str(package), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
