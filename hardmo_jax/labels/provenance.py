"""Where a result came from: the content of `run.json`.

No environment variable is ever recorded, and of texts what `private_text` lets through, so that a run folder can be
handed on. `file_sha256` and `replacing` are those of `whole_files`.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hardmo_jax.labels.private_text import MASK, is_secret_name, public_command, public_text
from hardmo_jax.whole_files import file_sha256, replacing

#: Version of the keys of `run.json`.
RUN_FORMAT_VERSION = 1
#: Of a `run.json` that is read.
MAX_RUN_BYTES = 64 << 20

#: Distributions whose versions change results or files.
RECORDED_PACKAGES = (
    "hardmo_jax",
    "jax",
    "jaxlib",
    "numpy",
    "optax",
    "flax",
    "opencv-python",
    "pyarrow",
    "av",
    "moderngl",
    "onnxruntime",
    "ai-edge-litert",
    "scipy",
    "ultralytics",
    "torch",
    "ray",
)

_GIT_SECONDS = 5.0


def git_commit(folder: str | os.PathLike[str]) -> str | None:
    """Commit checked out in a folder, with `+changes` appended if tracked files differ from it.

    Args:
        folder: Folder inside the working tree.

    Returns:
        None where there is no git, no repository, no commit, or git does not answer within five seconds.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changes else commit


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    # Hooks and file-system monitors named by a foreign repository's own configuration must not run.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_versions(names: Sequence[str] = RECORDED_PACKAGES) -> dict[str, str]:
    """Versions of the installed ones among the named distributions; nothing is imported."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def machine() -> dict[str, Any]:
    """Operating system, processor architecture, core count and Python, without the host's or user's name."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _plain(value: Any, name: str) -> Any:
    """Value as JSON types; numbers that JSON cannot hold become their names."""
    if is_secret_name(name) and value not in (None, "", False):
        return MASK
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, os.PathLike):
        return public_text(os.fspath(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {public_text(str(key)): _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(item, "") for item in items]
    to_list = getattr(value, "tolist", None)  # NumPy scalars and arrays
    if callable(to_list):
        return _plain(to_list(), "")
    raise TypeError(
        f"`{name}` of type {type(value).__name__} cannot stand in run.json; turn it into numbers, text, "
        "lists or mappings first"
    )


def read_run(path: str | os.PathLike[str], *, max_bytes: int = MAX_RUN_BYTES) -> dict[str, Any]:
    """What the run of a folder wrote of itself.

    Args:
        path: The `run.json`, or a file beside it.
        max_bytes: Of a record; a larger one is none.

    Returns:
        The record; empty if there is none, or what is there is damaged or no record.
    """
    path = pathlib.Path(path).with_name("run.json")
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= max_bytes else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclasses.dataclass(kw_only=True)
class RunRecord:
    """What `run.json` holds; made at the start of a run, filled on the way, written at its end.

    Example:
        >>> record = RunRecord(config={"seed": 0}, command=["annotate", "--input=walk.mp4"])
        >>> with record.stage("detect"):
        ...     pass
        >>> sorted(record.to_dict()["seconds"])
        ['detect', 'total']
    """

    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Resolved options of the run."""
    command: Sequence[str] = dataclasses.field(default_factory=lambda: tuple(sys.argv))
    """Command line, program first."""
    repository: str | os.PathLike[str] | None = None
    """Folder whose git commit is recorded; None for the folder of this package."""
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """Wall seconds by stage."""
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """Path, size and SHA-256 of the files the result depends on, by a name such as `body_model`."""
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Counts and summary values, by name."""
    start_utc: str = dataclasses.field(default_factory=_now)
    """Start of the run, ISO 8601."""
    _start: float = dataclasses.field(default_factory=time.perf_counter, repr=False)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to the seconds of a stage, also when the block raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def add_file(self, name: str, path: str | os.PathLike[str], sha256: str | None = None) -> str:
        """Record a file by name and return its SHA-256, which is computed unless it is given."""
        digest = file_sha256(path) if sha256 is None else sha256
        self.files[name] = {
            "path": os.fspath(path),
            "bytes": os.stat(path).st_size,
            "sha256": digest,
        }
        return digest

    def add(self, name: str, value: Any) -> None:
        """Record a summary value: numbers, text, lists or mappings of them."""
        self.results[name] = value

    def to_dict(self) -> dict[str, Any]:
        """Content of `run.json` with everything known at this moment.

        Raises:
            TypeError: If the configuration or a result holds something that JSON cannot.
        """
        repository = pathlib.Path(__file__).parent if self.repository is None else self.repository
        seconds = {name: round(value, 6) for name, value in self.seconds.items()}
        seconds["total"] = round(time.perf_counter() - self._start, 6)
        return {
            "run_format_version": RUN_FORMAT_VERSION,
            "start_utc": self.start_utc,
            "end_utc": _now(),
            "command": public_command(self.command),
            "config": _plain(self.config, ""),
            "git_commit": git_commit(repository),
            "packages": package_versions(),
            "machine": machine(),
            "files": _plain(self.files, ""),
            "seconds": seconds,
            "results": _plain(self.results, ""),
        }

    def write(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Write `run.json` atomically and return its path."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return pathlib.Path(path)
