"""Strictness and shared fixtures for every test."""

import ctypes
import gc
import os
import pathlib

# Programs of the tests run once on a few people: making them fast costs more than they ever save, and cutting them
# into parts that are compiled side by side costs a sixth more. An own XLA_FLAGS wins. Set before jax is imported, and
# inherited by the tools that tests start.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1",
)
# Matrices here are small, and the test processes share the cores: threads of NumPy's and SciPy's linear algebra that
# wait for each other made an inverse of 1 ms cost 50 to 130 ms. Processes of xdist and of tools inherit it; into this
# one a plugin may have loaded numpy already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Where in Python each operation of a program was written is asked by nobody here; to note it cost an eighth of tests
# that compile. Tracebacks of errors stay whole.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jax
import numpy as np
import psutil
import pytest
from absl import flags
from jaxtyping import install_import_hook

# Shapes and types of every call are checked while the tests run, and only then. Not in `safe_pickle`: a check on
# each of its millions of opcodes would make the tests against endless files endless themselves.
_ROOMS = (
    "geometry", "skeleton", "body", "observations", "options", "labels", "rendering", "fitting", "perception", "data",
    "metrics", "export", "recovery", "hardcase", "viz", "pipelines",
)  # fmt: skip
_HOOK = install_import_hook([f"hardmo_jax.{room}" for room in _ROOMS], "beartype.beartype")

from hardmo_jax.perception import model_files  # noqa: E402
from tests import small_groups  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent

jax.config.update("jax_compilation_cache_dir", str(model_files.default_model_folder().parent / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Tools define flags when imported; a test that imports one has no command line.
flags.FLAGS.mark_as_parsed()


#: Folders whose files run for minutes. Their files go to the processes first, so that none is left alone with one.
_LONG = ("tools", "pipelines", "fitting", "recovery", "perception", "body", "geometry")


def pytest_collection_modifyitems(items):
    """Begin with the folders that take longest."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: min(places.get(folder, len(_LONG)) for folder in item.path.parents))


def pytest_collection_finish():
    """Modules and tests live as long as the run: garbage is not looked for among them again and again."""
    gc.collect()
    gc.freeze()


def data_folder() -> pathlib.Path:
    """Reference data beside the repository; `HARDMO_DATA` says where else."""
    return pathlib.Path(os.environ.get("HARDMO_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def reference_data() -> pathlib.Path:
    """Folder of the reference data; skips where there is none."""
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set HARDMO_DATA")
    return folder


@pytest.fixture(scope="session")
def network_references() -> pathlib.Path:
    """Folder of a public-layout checkpoint with what PyTorch makes of it; skips where there is none."""
    folder = data_folder().parent / "parity"
    if not (folder / "hmr2_small_seed1.ckpt").is_file():
        pytest.skip(f"no network references at {folder}; set HARDMO_DATA to a folder beside it")
    return folder


@pytest.fixture(scope="session")
def perception_models() -> pathlib.Path:
    """Folder of the fetched perception models; skips where they are not."""
    folder = model_files.default_model_folder()
    if model_files.missing_models(folder):
        pytest.skip("no perception models; run `python -m tools.fetch_models`")
    return folder


#: Resident memory of a test process from which its compiled programs are dropped, bytes. Left alone, two processes
#: grew to 6.6 GiB each.
_CROWDED = 6 << 30


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    yield
    if psutil.Process().memory_info().rss > _CROWDED:
        jax.clear_caches()
        gc.collect()
        _give_back_memory()


def _give_back_memory():
    """Tell the allocator to, where it is glibc's: else what was freed counts as resident, and every module after the
    first crowded one would lose the programs that the next could use.
    """
    if hasattr(trim := ctypes.CDLL(None), "malloc_trim"):
        trim.malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def _small_groups():
    with pytest.MonkeyPatch.context() as patch:
        for name, size in small_groups.GROUPS.items():
            patch.setattr(f"hardmo_jax.{name}", size)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20261122)


_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request):
    """Record a measured figure; all of them are printed at the end of the run."""
    lines = request.config.stash.setdefault(_FIGURES, [])
    return lines.append


_STAGES = pytest.StashKey[list[tuple[str, str, str, float, float]]]()


@pytest.fixture
def stage_error(request):
    """Compare a stage of a body model with a reference, and record the worst error for the table of all of them.

    Called with the reference, the family, the stage, both values and the tolerance; NaN is never within it.
    """
    rows = request.config.stash.setdefault(_STAGES, [])

    def compare(reference, family, stage, ours, theirs, tolerance):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.shape == theirs.shape, f"{stage}: {ours.shape} against {theirs.shape}"
        error = float(np.abs(ours - theirs).max(initial=0))
        rows.append((reference, family, stage, error, tolerance))
        assert error <= tolerance, f"{family}, {stage}: {error:.1e} from {reference}, tolerance {tolerance:.0e}"

    return compare


@pytest.hookimpl
def pytest_sessionfinish(session):
    """A worker process hands its figures to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(_FIGURES, [])
        session.config.workeroutput["stages"] = session.config.stash.get(_STAGES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Collect what a worker measured; one that crashed has nothing."""
    given = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(_FIGURES, []).extend(given.get("figures", []))
    node.config.stash.setdefault(_STAGES, []).extend(tuple(row) for row in given.get("stages", []))


def _print_stages(terminalreporter, rows):
    worst = {}
    for reference, family, stage, error, tolerance in rows:
        key = (reference, family, stage, tolerance)
        worst[key] = max(error, worst.get(key, 0.0))
    width = [max(len(str(key[column])) for key in worst) for column in range(3)]
    terminalreporter.section("body models: worst error by family and stage")
    for (reference, family, stage, tolerance), error in worst.items():
        columns = f"{reference:{width[0]}}  {family:{width[1]}}  {stage:{width[2]}}"
        terminalreporter.write_line(f"{columns}  {error:7.1e}  (tolerance {tolerance:.0e})")


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_STAGES, [])
    if rows:
        _print_stages(terminalreporter, rows)
    lines = config.stash.get(_FIGURES, [])
    if lines:
        terminalreporter.section("measured figures")
        for line in lines:
            terminalreporter.write_line(line)
