"""One try after the other: a fault, what it leaves, and the same command again."""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import pyarrow as pa

from hardmo_jax.labels import store
from hardmo_jax.labels.store_manifest import StoreIncompleteError
from hardmo_jax.pipelines.runners import manifest
from hardmo_jax.whole_files import file_sha256
from tests.survive import fault_layer
from tests.survive.fault_layer import Fault, FaultLayer, PowerCut
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, labels_of, run_recorded

#: Parts of names that are drawn.
_DRAWN = re.compile(r"writing-(shards-)?[0-9a-f]{16}")


@contextlib.contextmanager
def few_threads() -> Iterator[None]:
    """Pyarrow by one thread: tables of three rows wait longer for threads than they take."""
    counts = pa.cpu_count(), pa.io_thread_count()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        yield
    finally:
        pa.set_cpu_count(counts[0])
        pa.set_io_thread_count(counts[1])


@dataclasses.dataclass
class Scenario:
    """Something that is done to a folder, and what must be true of it whatever happens meanwhile."""

    name: str
    prepare: Callable[[pathlib.Path], None]
    """Makes the folder as it is before."""
    act: Callable[[pathlib.Path, RunOf], object]
    """Does it; the same again goes on with it."""
    check: Callable[[pathlib.Path, RunOf], str | None]
    """What is lost of the folder after a fault; None if nothing is."""
    check_end: Callable[[pathlib.Path, RunOf, RunOf], str | None]
    """What is wrong after the same was done again; given what both runs did."""


def job_scenario(recorded: Recorded, expected: dict[str, bytes], shards: Sequence[str] = ("1/1",)) -> Scenario:
    """A job from nothing to its store of as many shards as inputs."""

    def act(folder: pathlib.Path, run: RunOf) -> None:
        with in_one_process(recorded, run, rows_per_shard=1):
            for shard in shards:
                run_recorded(recorded, folder, shard=shard)

    def check(folder: pathlib.Path, run: RunOf) -> str | None:
        states = manifest.read_item_states(folder)
        failed = {name for name, state in states.items() if state.state == "failed"}
        is_whole = _is_whole_or_incomplete(folder, expected, failed)
        if isinstance(is_whole, str):
            return is_whole
        for item, number in run.committed:
            if is_whole:
                break
            state = states.get(item)
            if state is None or len(state.parts) <= number:
                return f"take {number} of {item} is not in the manifest any more"
            part = state.parts[number]
            path = folder / "parts" / item / part.file
            if not path.is_file() or file_sha256(path) != part.sha256:
                return f"{path.name} of {item} is not what was written"
        return None

    def check_end(folder: pathlib.Path, before: RunOf, after: RunOf) -> str | None:
        if [(row.source_path, row.frame_index, row.track_id) for row in labels_of(folder)] != recorded.keys:
            return "labels are lost or doubled"
        if bytes_of(folder) != expected:
            return "shards are not those of an uninterrupted run"
        again = set(before.committed) & set(after.labelled)
        return f"{min(again)} was committed and is labelled again" if again else None

    return Scenario("job", lambda folder: None, act, check, check_end)


def _is_whole_or_incomplete(folder: pathlib.Path, expected: dict[str, bytes], failed: set[str]) -> bool | str:
    """Whether the store is the whole one, or says that it is none; else what is wrong.

    One that lacks inputs which the manifest names as failed is what a job publishes.
    """
    try:
        store.read_labels(folder / "labels")
    except (FileNotFoundError, StoreIncompleteError):
        return False
    if bytes_of(folder) == expected:
        return True
    numbers = [number for number in range(len(expected)) if not any(f"clip_{number:04d}" in name for name in failed)]
    wanted = [expected[f"labels-{number:05d}.parquet"] for number in numbers]
    found = list(bytes_of(folder).values())
    # A store of no labels is one empty shard.
    if failed and (found == wanted or not wanted):
        return False
    return "a store opens that is not the whole one"


def change_scenario(recorded: Recorded) -> Scenario:
    """A label of a store that is there is changed, as by a person who corrects it."""

    def prepare(folder: pathlib.Path) -> None:
        with in_one_process(recorded, RunOf(), rows_per_shard=1):
            run_recorded(recorded, folder)

    def shard(folder: pathlib.Path) -> pathlib.Path:
        return store.shard_path(folder / "labels", 1)

    def act(folder: pathlib.Path, run: RunOf) -> None:
        rows = store.read_labels(shard(folder)).rows
        changed = [dataclasses.replace(row, review="accepted") for row in rows]
        store.write_labels(shard(folder), changed)
        run.committed.append(("changed", 0))

    def check(folder: pathlib.Path, run: RunOf) -> str | None:
        try:
            rows = labels_of(folder)
        except (store.LabelError, OSError) as error:
            return f"the store does not open: {error}"
        keys = [(row.source_path, row.frame_index, row.track_id) for row in rows]
        if keys != recorded.keys:
            return "labels are lost or doubled"
        if run.committed and rows[1].review != "accepted":
            return "what was changed is not there"
        return None

    def check_end(folder: pathlib.Path, before: RunOf, after: RunOf) -> str | None:
        problem = check(folder, after)
        return problem or (None if labels_of(folder)[1].review == "accepted" else "what was changed is not there")

    return Scenario("change", prepare, act, check, check_end)


@dataclasses.dataclass
class Tries:
    """What came of a number of tries."""

    cases: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    num_calls: int = 0
    num_states: int = 0
    """Different folders that faults left."""
    happened: int = 0


def count_calls(scenario: Scenario, folder: pathlib.Path, *, broken: str | None = None) -> FaultLayer:
    """The layer of a run of which nothing fails."""
    scenario.prepare(folder / "job")
    layer = FaultLayer(folder / "job", syncs=True)
    with fault_layer.active(layer, broken=broken):
        scenario.act(folder / "job", RunOf())
    return layer


def try_faults(
    scenario: Scenario,
    faults: Sequence[Fault],
    folder: pathlib.Path,
    *,
    broken: str | None = None,
    most_told: int = 20,
) -> Tries:
    """Try each fault, and see what it leaves."""
    tries, known = Tries(), set[str]()
    template = folder / "template"
    folder.mkdir(exist_ok=True)
    scenario.prepare(template)
    for number, fault in enumerate(faults):
        own, scratch = folder / f"try_{number}", folder / "kept"
        if template.exists():
            shutil.copytree(template, own)
        scratch.mkdir()
        # A layer that is asked knows what was synced; to do it in truth would take most of the time.
        with mock.patch.object(os, "fsync", return_value=None):
            problem = _try_one(scenario, fault, own, scratch, tries, known, broken)
        tries.cases += 1
        if problem is not None and len(tries.failures) < most_told:
            tries.failures.append(f"{scenario.name}, {fault.kind} at call {fault.number}: {problem}")
        shutil.rmtree(own, ignore_errors=True)
        shutil.rmtree(scratch)
    tries.num_states = len(known)
    return tries


def _try_one(
    scenario: Scenario, fault: Fault, own: pathlib.Path, scratch: pathlib.Path, tries: Tries, known: set, broken
) -> str | None:
    layer, run = FaultLayer(own, fault, scratch=scratch), RunOf()
    try:
        with fault_layer.active(layer, broken=broken):
            try:
                scenario.act(own, run)
            except PowerCut:
                pass
            except Exception as error:
                if not isinstance(error, OSError) and not type(error).__module__.startswith("hardmo_jax."):
                    return f"{type(error).__name__} is told to the user: {error}"
    finally:
        tries.happened += layer.happened
    if layer.fault is not None and not layer.happened:
        return None
    try:
        state = state_of(own) + repr(sorted(run.committed))
        if state in known:
            return None
        known.add(state)
        problem = scenario.check(own, run)
        if problem is not None:
            return f"{layer.calls[fault.number].kind} of {layer.calls[fault.number].path}: {problem}"
        again = RunOf()
        scenario.act(own, again)
        problem = scenario.check_end(own, run, again)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        return f"{layer.calls[fault.number].kind} of {layer.calls[fault.number].path}, then again: {problem}"
    return None


def state_of(folder: pathlib.Path) -> str:
    """What a run that begins in a folder can see of it: names, and contents of files that it reads.

    Left out is what no run reads: what is in unfinished files, how far an earlier run said it was, and `run.json`.
    """
    digest = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = pathlib.Path(place, name)
            plain = _DRAWN.sub("writing", str(path.relative_to(folder)))
            content = b""
            if ".writing" not in plain and name != "run.json" and not name.startswith("progress"):
                content = path.read_bytes()
            digest.update(repr((plain, hashlib.sha256(content).hexdigest())).encode())
        digest.update(repr([_DRAWN.sub("writing", one) for one in folders]).encode())
    return digest.hexdigest()


def chosen_faults(calls: Sequence[fault_layer.Call], *, sample: int | None = None, seed: int = 0) -> list[Fault]:
    """Every fault of every call, but for writes within Parquet files.

    Of these, hundreds a file, each gets one kind in turn in the first part and the first shard, and every tenth of them
    in the others, which the same code writes.

    Args:
        calls: Of a run without faults.
        sample: So many of them, drawn by chance; None is all.
        seed: Of the draw.
    """
    whole: dict[bool, str] = {}
    for call in calls:
        if _is_parquet_write(call):
            whole.setdefault("labels" in call.path.split(os.sep), call.path)
    found, num_writes = [], 0
    for number, faults in itertools.groupby(fault_layer.faults_of(list(calls)), key=lambda fault: fault.number):
        if not _is_parquet_write(calls[number]):
            found += faults
            continue
        num_writes += 1
        if calls[number].path in whole.values() or num_writes % 10 == 0:
            found.append(Fault(fault_layer.FAULTS[num_writes // 10 % len(fault_layer.FAULTS)], number))
    if sample is not None and sample < len(found):
        # Few of the writes of Parquet files, which are most.
        rare = [one for one in found if not _is_parquet_write(calls[one.number])]
        many = [one for one in found if _is_parquet_write(calls[one.number])]
        drawn = random.Random(seed)
        found = drawn.sample(rare, min(len(rare), sample * 3 // 4))
        found += drawn.sample(many, min(len(many), sample - len(found)))
    return found


def _is_parquet_write(call: fault_layer.Call) -> bool:
    return call.kind == "write" and call.path.endswith(".parquet")
