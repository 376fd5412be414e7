"""Jobs of one process whose fits were recorded: the real supervisor, manifest, parts and store, in milliseconds.

Inputs are files that say how many people each take has. Who looks and who labels are no processes but objects that
answer at once; labels were made and packed beforehand, and parts are written by the store's own `write_packed`.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
import os
import pathlib
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO
from unittest import mock

from hardmo_jax.labels import private_text, provenance, sharded_store, store
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners import annotate_job, job_folder, job_progress, local, publish, worker
from hardmo_jax.pipelines.runners.job_items import JobShard
from hardmo_jax.pipelines.runners.manifest import PartRecord
from hardmo_jax.pipelines.runners.messages import send_message
from hardmo_jax.pipelines.runners.stages import Looker
from hardmo_jax.pipelines.runners.worker import told_failure
from hardmo_jax.pipelines.runners.worker_process import Answer, WorkerProcess
from hardmo_jax.whole_files import file_sha256
from tests.labels.test_schema import make_full_row

FRAMES_OF_A_TAKE = 10
_TIME = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def rows_of_take(name: str, number: int, people: int):
    """The labels of a take, the same in every run."""
    return [
        dataclasses.replace(
            make_full_row(person), source_path=name, source_sha256=f"{number:064x}", label_id="", parent_version=None,
            frame_index=number * FRAMES_OF_A_TAKE, track_id=person, created_utc=_TIME, label_version=1,
        )
        for person in range(people)
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Inputs and their labels."""

    folder: pathlib.Path
    takes: tuple[tuple[int, ...], ...]
    """People of each take of each input."""

    @classmethod
    def make(cls, folder: pathlib.Path, takes) -> "Recorded":
        """Write inputs."""
        own = cls(folder, tuple(map(tuple, takes)))
        folder.mkdir(parents=True)
        for path, counts in zip(own.paths, own.takes, strict=True):
            path.write_text(json.dumps(counts))
        return own

    @property
    def paths(self) -> list[pathlib.Path]:
        """Of the inputs."""
        return [self.folder / f"clip_{number:04d}.mp4" for number in range(len(self.takes))]

    @functools.cached_property
    def own_paths(self) -> frozenset[pathlib.Path]:
        """Quick to look up."""
        return frozenset(self.paths)

    @property
    def keys(self) -> list[tuple[str, int, int]]:
        """Source, frame and track of each label, in the order of the store."""
        return [
            (path.name, FRAMES_OF_A_TAKE * number, person)
            for path, counts in zip(self.paths, self.takes, strict=True)
            for number, people in enumerate(counts)
            for person in range(people)
        ]

    @functools.cached_property
    def packed(self) -> dict[tuple[str, int], store.PackedLabels]:
        """Labels of each take."""
        return {
            (path.name, number): store.PackedLabels(
                rows_of_take(path.name, number, people), self.folder / f"{path.stem}_{number}.arrows"
            )
            for path, counts in zip(self.paths, self.takes, strict=True)
            for number, people in enumerate(counts)
        }


_package_versions = functools.cache(provenance.package_versions)
_without_home = functools.cache(private_text.without_home)


def pipe_of(header) -> IO[bytes]:
    """What is read as a pipe with one message."""
    pipe = tempfile.TemporaryFile()  # noqa: SIM115 closed when nobody reads it any more
    send_message(pipe, header)
    pipe.seek(0)
    return pipe


class _Process(WorkerProcess):
    """What the runner takes for a process: it answers before it is asked for an answer."""

    @property
    def pid(self) -> int:
        """This one."""
        return os.getpid()

    def __init__(self, recorded: Recorded, labelled: list, setting, environment, answers, room, *, module) -> None:
        self.role, self.heard, self.has_spoken = setting["role"], time.monotonic(), True
        self._recorded, self._labelled, self._answers = recorded, labelled, answers
        if self.role == "label":
            self._say({"kind": "ready"})

    def ask(self, header, payload=b"") -> None:
        """Do it."""
        if self.role == "look":
            self._look(header)
        elif header["kind"] == "label":
            self._label(header)

    def _look(self, asked) -> None:
        path = pathlib.Path(asked["source"])
        if path not in self._recorded.own_paths:
            # Files of others are looked at in truth, which is how those that are broken are refused.
            worker._look(pipe_of(asked), self._send, Looker(AnnotateOptions(), path.parent))
            return
        takes = json.loads(path.read_text())
        frames = FRAMES_OF_A_TAKE * len(takes)
        facts = {"path": str(path), "kind": "photo", "fps": 30.0, "frame_count": frames}
        self._say({"kind": "begun", "facts": facts, "skip_takes": asked["skip_takes"]})
        for number in range(asked["skip_takes"], len(takes)):
            told = {"number": number, "end": FRAMES_OF_A_TAKE * (number + 1), "next_track": 0, "seconds": {}}
            self._say({"kind": "take", "facts": facts, **told}, b"take")
        self._say({"kind": "looked", "told": {"warnings": [], "num_unusable": 0}})

    def _label(self, asked) -> None:
        path, number = pathlib.Path(asked["path"]), asked["number"]
        packed = self._recorded.packed[pathlib.Path(asked["facts"]["path"]).name, number]
        try:
            store.write_packed(path, [packed])
            part = PartRecord(
                file=path.name, num_rows=len(packed), num_bytes=path.stat().st_size, sha256=file_sha256(path),
                num_pictures=FRAMES_OF_A_TAKE, end=asked["end"], next_track=0, seconds={},
                told={"people": len(packed), "status": {}, "warnings": []},
            )  # fmt: skip
        except Exception as error:
            self._say({"kind": "failed", **told_failure(error)})
            return
        self._labelled.append((path.parent.name, number))
        self._say({"kind": "part", "part": part.to_json()})

    def _send(self, header, payload=b"") -> None:
        if header["kind"] == "take":
            raise AssertionError("pictures of a broken file were looked at")
        self._say(header, payload)

    def _say(self, header, payload=b"") -> None:
        self._answers.put(Answer(worker=self, header=header, payload=payload))

    def end(self) -> None:
        """Nothing is left of it."""


class _Heartbeat(job_progress.Heartbeat):
    """Without a thread: the order of calls is the same in every run."""

    def __enter__(self):
        self.write()
        return self

    def __exit__(self, *_):
        self.write()


@dataclasses.dataclass
class RunOf:
    """What a run did."""

    labelled: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    """Takes that were labelled: item and number."""
    committed: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    """Of those, what the manifest said it has."""


@contextlib.contextmanager
def in_one_process(recorded: Recorded, run: RunOf, *, rows_per_shard: int = 2) -> Iterator[None]:
    """Jobs of one process while the block runs, in shards of so few labels that there are several."""

    def process(*arguments, **options):
        return _Process(recorded, run.labelled, *arguments, **options)

    from hardmo_jax.pipelines.runners import manifest

    add_part = manifest.Manifest.add_part

    def noted_add_part(self, name, number, part):
        state = add_part(self, name, number, part)
        run.committed.append((name, number))
        return state

    compact = functools.partial(sharded_store.compact_labels, rows_per_shard=rows_per_shard)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(job_folder, "depends_on", return_value={"body": "recorded"}))
        stack.enter_context(mock.patch.object(job_folder, "load_body_option", return_value=None))
        # Facts of this machine, which take longer to find out than the rest of the job takes.
        stack.enter_context(mock.patch.object(provenance, "package_versions", _package_versions))
        stack.enter_context(mock.patch.object(provenance, "git_commit", return_value=None))
        stack.enter_context(mock.patch.object(private_text, "without_home", _without_home))
        source = annotate_job.load_source
        stack.enter_context(mock.patch.object(source, "load_source", return_value=None))
        stack.enter_context(mock.patch.object(source, "own_files", return_value=()))
        stack.enter_context(mock.patch.object(annotate_job, "Heartbeat", _Heartbeat))
        stack.enter_context(mock.patch.object(local, "WorkerProcess", process))
        stack.enter_context(mock.patch.object(publish, "compact_labels", compact))
        stack.enter_context(mock.patch.object(manifest.Manifest, "add_part", noted_add_part))
        yield


def run_recorded(
    recorded: Recorded, output: pathlib.Path, *, shard: str = "1/1", paths=None
) -> annotate_job.JobOutcome:
    """The job, from the call that the command makes."""
    return annotate_job.annotate_job(
        recorded.paths if paths is None else paths,
        output,
        options=AnnotateOptions(),
        model_folder=recorded.folder,
        shard=JobShard.parse(shard),
        runner=local.LocalOptions(workers=1),
        stop=threading.Event(),
    )


def labels_of(output: pathlib.Path):
    """The labels of a job's store."""
    return store.read_labels(output / "labels").rows


def bytes_of(output: pathlib.Path) -> dict[str, bytes]:
    """The shards of a job's store."""
    return {path.name: path.read_bytes() for path in sorted((output / "labels").glob("labels-*.parquet"))}
