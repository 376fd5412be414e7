"""Runs of pytest in a copy of the repository, each in a process forked from one that has the heavy packages already.

Neither cosmic-ray's nor mutmut's own way to run tests would do. cosmic-ray starts Python for every mutant, and JAX,
SciPy, PyArrow and hypothesis take longer to import than most mutants to die. mutmut 3 runs the tests once in the
process that it forks, after which JAX has threads: of the first seven mutants of `geometry/alignment.py` three hung;
and it leaves alone whatever is decorated, which the dataclasses and properties here are. So the packages are imported
before, but nothing of the project, and JAX starts no thread before the fork.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import coverage
import pytest

_PRELOADED = ("jax", "jax.numpy", "jax.scipy.spatial.transform", "numpy", "scipy.optimize", "scipy.spatial",
              "scipy.stats", "scipy.sparse", "hypothesis", "beartype", "jaxtyping", "psutil", "absl.flags", "optax",
              "pyarrow.parquet", "pyarrow.dataset", "PIL.Image", "cv2")  # fmt: skip
#: Address space of a run, bytes: a mutant without a limit of memory must not take the machine's.
_MEMORY = 12 << 30


def preload() -> None:
    """Import what every run needs and no mutant changes."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        "--xla_cpu_parallel_codegen_split_count=1",
    )
    for name in _PRELOADED:
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not there; each run goes without it")


class Watch:
    """A plugin of pytest: runs those tests that could notice, quick ones first, and writes down what came of it.

    Args:
        note: File for what each test took, which failed, and, when all run, which lines each of them ran.
        seconds: What each test takes, by its id.
        left_out: Names of tests that are not run.
        chosen: Ids of tests that are run; None runs all, and watches their lines.
        watched: Patterns of files whose lines are watched.
    """

    def __init__(
        self,
        note: pathlib.Path,
        seconds: dict[str, float],
        left_out: tuple[str, ...],
        chosen: set[str] | None,
        watched: list[str],
    ) -> None:
        self._note = note
        self._seconds = seconds
        self._left_out = left_out
        self._chosen = chosen
        self._lines = coverage.Coverage(data_file=None, include=watched) if watched else None
        self._taken: dict[str, float] = {}
        self._failed: list[str] = []

    def pytest_collection_modifyitems(self, config, items) -> None:
        """Leave out and sort."""
        import jax

        # A mutant that changes no program finds all of them compiled.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        # Making groups of fits small imports all of the package, and no test here fits.
        if "tests.small_groups" in sys.modules:
            sys.modules["tests.small_groups"].GROUPS.clear()
        kept = [item for item in items if item.originalname not in self._left_out]
        items[:] = kept if self._chosen is None else [item for item in kept if item.nodeid in self._chosen]
        items.sort(key=lambda item: self._seconds.get(item.nodeid, 0.0))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        """Watch the lines that a test runs, with its fixtures."""
        if self._lines:
            self._lines.start()
            self._lines.switch_context(item.nodeid)
        yield
        if self._lines:
            self._lines.stop()

    def pytest_runtest_logreport(self, report) -> None:
        """Add up set-up, call and tear-down."""
        self._taken[report.nodeid] = self._taken.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write it down for the process that waits."""
        lines = {}
        if self._lines:
            data, root = self._lines.get_data(), pathlib.Path.cwd()
            for name in data.measured_files():
                by_line = data.contexts_by_lineno(name)
                lines[pathlib.Path(name).relative_to(root).as_posix()] = {
                    line: [test for test in tests if test] for line, tests in by_line.items()
                }
        self._note.write_text(json.dumps({"taken": self._taken, "failed": self._failed, "lines": lines}))


class Tree:
    """A copy of the repository in which one run at a time goes on.

    Args:
        folder: Where; it is made from what git knows or would add.
        root: The repository.
    """

    def __init__(self, folder: pathlib.Path, root: pathlib.Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, listed):
            if (root / name).is_file():
                (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / "tree" / name)
        self._root = root

    def write(self, path: str, source: str) -> None:
        """Put a source in its place and drop what was compiled of the one before."""
        file = self.folder / "tree" / path
        file.write_text(source)
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()

    def start(self, tests: list[str], watch: Callable[[pathlib.Path], Watch], *, first: bool) -> int:
        """Fork a run of tests.

        Args:
            tests: Test files, from the root of the repository.
            watch: Makes the plugin, of the file for its notes.
            first: Whether this is a run without a mutant: it leaves its compiled modules, and does not stop early.

        Returns:
            Process, the leader of a group of its own.
        """
        self.note.unlink(missing_ok=True)
        sys.stdout.flush()
        process = os.fork()
        if process:
            return process
        try:
            os._exit(self._run(tests, watch, first=first))
        finally:
            os._exit(99)

    @property
    def note(self) -> pathlib.Path:
        """What the last run wrote down."""
        return self.folder / "note.json"

    def _run(self, tests: list[str], watch: Callable[[pathlib.Path], Watch], *, first: bool) -> int:
        os.setsid()
        output = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        tree = self.folder / "tree"
        os.chdir(tree)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])
        os.environ["HARDMO_CACHE"] = str(self.folder.parent / "cache")
        if not first:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "hardmo_jax", "tools")]:
            del sys.modules[name]
        sys.path[:] = [str(tree), *(place for place in sys.path if pathlib.Path(place).resolve() != self._root)]
        options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=short",
                   f"--basetemp={self.folder / 'temporary'}", *([] if first else ["-x"])]  # fmt: skip
        return int(pytest.main([*options, *tests], plugins=[watch(self.note)]))


def finished(process: int, deadline: float) -> int | str | None:
    """How a run stands.

    Returns:
        Exit status once it ended, "timeout" after its deadline, when it is killed with all that it started, else None.
    """
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended:
        _kill_group(process)
        return os.waitstatus_to_exitcode(status)
    if time.monotonic() < deadline:
        return None
    _kill_group(process)
    os.waitpid(process, 0)
    return "timeout"


def _kill_group(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return
