"""The runner of a cluster: the stages of the local one as pools of actors of Ray Data, which keep programs warm.

The driver holds the manifest and nothing else; parts are written by the actors that label, so the job's folder and the
inputs must be on a disk that all nodes see under the same path. What comes of an item does not depend on where it is
looked at: labels are those of the local runner, byte for byte but for when they were made.

Ray runs what whoever reaches it sends, and asks for no password unless told to: a cluster of several nodes is refused
without token authentication. Nothing is reported to Ray's makers.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import queue
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from hardmo_jax import options as options_module
from hardmo_jax.fitting.threads import num_cores
from hardmo_jax.missing_packages import MissingPackageError
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners.job_folder import Job, environment_of_workers
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.ledger import JobLedger
from hardmo_jax.pipelines.runners.manifest import Failure, PartRecord, name_of_part
from hardmo_jax.pipelines.runners.stages import SourceFacts, TakeLabeller
from hardmo_jax.pipelines.runners.take_bytes import take_of_bytes
from hardmo_jax.pipelines.runners.worker import told_failure, use_compiled
from hardmo_jax.pipelines.runners.worker_process import WORKER_MODULE, Answer, WorkerProcess

#: Blocks are handed on as soon as they hold a take.
_BLOCK_BYTES = 1024
#: Times that an item is tried whose process dies; actors themselves are started again by Ray.
_ATTEMPTS = 2
_POLL_SECONDS = 0.5
_KNOCK_SECONDS = 10.0


class RayClusterError(RuntimeError):
    """A cluster cannot be reached, or is open to everybody."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RayOptions:
    """How a cluster is used; labels do not depend on it."""

    address: str | None = None
    """Of a cluster, such as `auto` or `ray://head:10001`; None starts one on this machine, and ends it."""
    workers: int | None = None
    """Actors that look at pictures, a core each; None is as many as there are cores."""
    label_workers: int = 1
    """Actors that label."""
    gpus_of_label_worker: float = 0.0
    """GPUs, or share of one, of each of them."""
    gpus_of_look_worker: float = 0.0
    """And of each that looks, where a network is asked."""
    stall_seconds: float = 900.0
    """Time without a word of a process after which it hangs."""
    memory_gib: float | None = None
    """Memory of a process that looks; one that asks for more fails its item. None is no limit."""
    worker_module: str = WORKER_MODULE
    """Python module of the processes that look; see `LocalOptions`."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"`workers` must be 1 or more, got {self.workers}")
        if self.label_workers < 1 or min(self.gpus_of_label_worker, self.gpus_of_look_worker) < 0:
            raise ValueError(f"expected one or more actors that label and no negative shares of GPUs, got {self}")


class LookActor:
    """Looks at items in a process of its own, as the local runner does: files of strangers are read there; a class for
    `map_batches`."""

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self._setting = setting
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._room = threading.Semaphore(1)
        self._worker: WorkerProcess | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
        """Takes of one item, and how it ended."""
        asked = json.loads(str(batch["row"][0]))
        name, number, skipped, how = asked["item"], 0, 0, "nothing"
        for _ in range(_ATTEMPTS):
            worker = self._worker = self._worker or self._started()
            worker.ask(asked)
            while True:
                try:
                    answer = self._answers.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    if time.monotonic() - worker.heard > self._setting["stall_seconds"]:
                        worker.kill(f"nothing said for {self._setting['stall_seconds']:g} s, so it was stopped")
                    continue
                said = answer.header
                if said["kind"] == "begun":
                    skipped = said["skip_takes"]
                    number = max(number, skipped)
                    yield _row(name, said)
                elif said["kind"] == "take":
                    self._room.release()
                    if said["number"] < number:
                        # An attempt before this one handed it on.
                        continue
                    number = said["number"] + 1
                    path = str(pathlib.Path(asked["parts"]) / name_of_part(said["number"]))
                    # Rows come to the driver in any order.
                    yield _row(name, {**said, "path": path, "skip_takes": skipped}, answer.payload)
                elif said["kind"] == "looked":
                    yield _row(name, {**said, "takes": number})
                    return
                elif said["kind"] == "failed":
                    yield _row(name, {**said, "stage": "look", "takes": number})
                    return
                elif said["kind"] == "gone":
                    how = worker.how_it_ended()
                    worker.end()
                    self._worker = None
                    break
        reason = f"{asked['source']}: the process that read it ended with {how}"
        yield _row(name, {"kind": "failed", "stage": "look", "takes": number, "reason": reason, "trace": ""})

    def _started(self) -> WorkerProcess:
        keys = ("options", "model_folder", "memory_bytes", "compiled")
        setting = {"role": "look", "num_threads": 1, **{key: self._setting[key] for key in keys}}
        module = self._setting["worker_module"]
        environment = environment_of_workers()
        if not self._setting["look_has_network"]:
            # GPUs are for those who label.
            environment["JAX_PLATFORMS"] = "cpu"
        return WorkerProcess(setting, environment, self._answers, self._room, module=module)

    def close(self) -> None:
        """End the process; it ends by itself when the actor does."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class LabelActor:
    """Labels takes, and hands everything else on; a class for `map_batches`."""

    def __init__(self, setting: Mapping[str, Any]) -> None:
        use_compiled(setting["compiled"])
        options = options_module.from_mapping(AnnotateOptions, setting["options"], where="options")
        self._labeller = TakeLabeller(options)
        if setting["has_video"]:
            # Programs are loaded while the first frames are looked at.
            self._labeller.warm_up(SourceFacts(path=pathlib.Path("video"), kind="video", fps=25.0, frame_count=None))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """What became of one take."""
        name, asked = str(batch["item"][0]), json.loads(str(batch["row"][0]))
        if asked["kind"] != "take":
            return _row(name, asked)
        try:
            part = self._labeller.label(
                SourceFacts.from_json(asked["facts"]),
                take_of_bytes(bytes(batch["payload"][0])),
                pathlib.Path(asked["path"]),
                end=asked["end"],
                next_track=asked["next_track"],
                seconds=asked["seconds"],
            )
            told = {key: asked[key] for key in ("number", "facts", "skip_takes")}
            return _row(name, {"kind": "part", **told, "part": part.to_json()})
        except Exception as error:
            return _row(name, {"kind": "failed", "stage": "fit", "takes": asked["number"], **told_failure(error)})


def _row(name: str, told: Mapping[str, Any], payload: bytes = b"") -> dict[str, list[Any]]:
    return {"item": [name], "row": [json.dumps(told, allow_nan=False)], "payload": [payload]}


class RayRunner:
    """One run of a job on a cluster."""

    def __init__(
        self,
        job: Job,
        ledger: JobLedger,
        todo: list[JobItem],
        options: RayOptions,
        *,
        compiled: str | None,
        stop: threading.Event,
    ) -> None:
        """Set up; nothing is started yet.

        Args:
            job: What is done.
            ledger: Gets what is done.
            todo: Items that are not done, in the order in which they are begun.
            options: How the cluster is used.
            compiled: Folder of compiled programs, on each node; None is that of JAX.
            stop: Once set, nothing more is taken from the cluster; what it wrote is kept.
        """
        self._job, self._ledger, self._todo, self._options = job, ledger, todo, options
        self._compiled, self._stop = compiled, stop
        ledger.num_labellers = options.label_workers
        self._told: dict[str, tuple[dict[str, Any], int]] = {}
        self._open = {item.name for item in todo}
        self._opened: set[str] = set()
        self._failed: dict[str, tuple[Failure, int]] = {}

    def run(self) -> None:
        """Do all that is to do, or what is under way once told to stop.

        Raises:
            MissingPackageError: If Ray is not installed.
            RayClusterError: If the cluster cannot be reached, or is open to everybody.
        """
        if not self._todo:
            return
        with _cluster(self._options) as ray:
            for row in self._rows(ray):
                self.hear(str(row["item"]), json.loads(row["row"]))
                if self._stop.is_set():
                    break
        for name in self._open:
            self._ledger.put_back(name)

    def _rows(self, ray: Any) -> Iterator[dict[str, Any]]:
        """What the actors say, as it comes."""
        import ray.data as ray_data

        logging.getLogger("ray.data").setLevel(logging.ERROR)

        options = self._options
        context = ray_data.DataContext.get_current()
        context.target_max_block_size, context.target_min_block_size = _BLOCK_BYTES, 1
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        asked = []
        for item in self._todo:
            parts = self._ledger.begin(item)
            told = {
                "item": item.name,
                "source": str(item.source.absolute()),
                "photos": list(item.photos),
                "parts": str(self._job.parts_of(item).absolute()),
                "skip_takes": len(parts),
                "end": parts[-1].end if parts else 0,
                "next_track": parts[-1].next_track if parts else 0,
                "source_sha256": parts[-1].told.get("source_sha256") if parts else None,
            }
            asked.append({"item": item.name, "row": json.dumps(told), "payload": b""})
        setting = {
            "options": options_module.to_mapping(self._job.options),
            "model_folder": str(self._job.model_folder),
            "compiled": self._compiled,
            "memory_bytes": None if options.memory_gib is None else int(options.memory_gib * 2**30),
            "stall_seconds": options.stall_seconds,
            "worker_module": options.worker_module,
            "look_has_network": self._job.options.initialise.network != "none",
            "has_video": any(not item.photos for item in self._todo),
        }
        workers = min(options.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1), len(asked))
        pool = ray_data.ActorPoolStrategy
        looked = ray_data.from_items(asked, override_num_blocks=len(asked)).map_batches(
            LookActor, fn_constructor_args=(setting,), batch_size=1, batch_format="pandas", compute=pool(size=workers),
            num_cpus=1, num_gpus=options.gpus_of_look_worker or None,
        )  # fmt: skip
        labelled = looked.map_batches(
            LabelActor, fn_constructor_args=(setting,), batch_size=1, batch_format="pandas",
            compute=pool(size=options.label_workers), num_cpus=0, num_gpus=options.gpus_of_label_worker or None,
        )  # fmt: skip
        yield from labelled.iter_rows()

    def hear(self, name: str, said: Mapping[str, Any]) -> None:
        """Take in what an actor says of an item; rows may come in any order."""
        kind = said["kind"]
        if name not in self._open:
            return
        if kind in ("begun", "part") and name not in self._opened:
            # Whichever comes first: what is labelled by then is not forgotten when the other comes.
            self._opened.add(name)
            self._ledger.opened(name, frames=said["facts"]["frame_count"], skip_takes=said["skip_takes"])
        if kind == "part":
            self._ledger.take_labelled(name, said["number"], PartRecord.from_json(said["part"]))
            self._ledger.looked_at(name, self._ledger.frames_of_parts(name))
        elif kind == "looked":
            self._told[name] = dict(said["told"]), int(said["takes"])
        elif kind == "failed":
            failure = Failure(stage=str(said["stage"]), reason=str(said["reason"]), trace=str(said["trace"]))
            known = self._failed.get(name)
            if known is None or int(said["takes"]) < known[1]:
                self._failed[name] = failure, int(said["takes"])
        if name in self._failed:
            # Takes before the failure are kept, whichever is ready first.
            failure, takes = self._failed[name]
            if self._ledger.num_parts(name) >= takes:
                self._open.discard(name)
                self._ledger.fail(name, failure)
            return
        told, takes = self._told.get(name, ({}, -1))
        if self._ledger.num_parts(name) == takes:
            self._open.discard(name)
            self._ledger.end(name, told)


@contextlib.contextmanager
def _cluster(options: RayOptions) -> Iterator[Any]:
    """Ray, connected; what was started here is ended."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # What goes wrong is told by our own messages.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError(
            "the runner `ray` needs Ray; install it with: pip install 'hardmo_jax[ray]'"
        ) from error
    environment = {"env_vars": {"PYTHONPATH": environment_of_workers()["PYTHONPATH"], "JAX_PLATFORMS": "cpu"}}
    if options.gpus_of_label_worker or options.gpus_of_look_worker:
        del environment["env_vars"]["JAX_PLATFORMS"]
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "runtime_env": environment}
    # JAX warns of forks that start other programs at once, which are safe.
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
    try:
        if options.address is None:
            ray.init(
                address="local", num_cpus=options.workers or num_cores(), include_dashboard=False,
                _node_ip_address="127.0.0.1", **quiet,
            )  # fmt: skip
        else:
            _knock(options.address)
            ray.init(address=options.address, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, OSError) as error:
        told = " ".join(str(error).split())[:300]
        raise RayClusterError(
            f"the cluster at {options.address or 'this machine'} cannot be reached ({told}); start it with "
            "`ray start`, or leave out --ray_address to use this machine alone"
        ) from error
    try:
        refuse_open_cluster(ray, is_ours=options.address is None)
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Whether anybody listens: Ray itself tries for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal() and int(port) < 1 << 16:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS):
            pass


def refuse_open_cluster(ray: Any, *, is_ours: bool) -> None:
    """Refuse a cluster of several nodes without authentication: whoever reaches it can run anything (CVE-2023-48022).

    Args:
        ray: The module, connected.
        is_ours: Whether it was started here for this run alone; any other may grow to several nodes.

    Raises:
        RayClusterError: If there are several nodes, and no token is asked for.
    """
    alive = [node for node in ray.nodes() if node.get("Alive")]
    if (len(alive) > 1 or not is_ours) and os.environ.get("RAY_AUTH_MODE") != "token":
        raise RayClusterError(
            f"the cluster has {len(alive)} nodes, or may come to have several, and asks for no token, so that whoever "
            "reaches it can run programs on it; start it, and this, with RAY_AUTH_MODE=token (docs/cluster.md)"
        )
