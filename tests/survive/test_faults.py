"""Every call of a run to the disk fails in turn: nothing that was committed is lost, and the same command goes on."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from hardmo_jax.pipelines.output_folders import OutputFolderError
from tests.survive import fault_layer
from tests.survive.fault_layer import FaultLayer
from tests.survive.fault_tries import change_scenario, chosen_faults, count_calls, job_scenario, try_faults
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, run_recorded

pytestmark = pytest.mark.usefixtures("one_thread")
#: Faults of calls that a run may lack: all six of each of its last two.
_MOST_MISSING = 12


@pytest.fixture
def recorded(tmp_path):
    found = Recorded.make(tmp_path / "inputs", [[1], [1], [1]])
    assert len(found.packed) == 3
    return found


@pytest.fixture
def expected(recorded, tmp_path):
    with in_one_process(recorded, RunOf(), rows_per_shard=1):
        run_recorded(recorded, tmp_path / "undisturbed")
    shards = bytes_of(tmp_path / "undisturbed")
    assert len(shards) == 3
    return shards


def _scenarios(recorded, expected):
    machines = job_scenario(recorded, expected, ("1/3", "2/3", "3/3"))
    machines.name = "machines"
    return job_scenario(recorded, expected), machines, change_scenario(recorded)


def test_some_faults_lose_nothing(recorded, expected, tmp_path, promise, broken):
    with promise("fault at an I/O call: a sample") as row:
        # A build that is broken on purpose is to be found out, however few of its calls are.
        more = 1 if broken is None else 6
        for scenario, sample in zip(_scenarios(recorded, expected), (10 * more, 4, 8 * more), strict=True):
            folder = tmp_path / scenario.name
            calls = count_calls(scenario, folder, broken=broken).calls
            tries = try_faults(scenario, chosen_faults(calls, sample=sample, seed=20261128), folder, broken=broken)
            row.tried(cases=tries.cases)
            row.failures += tries.failures


@pytest.mark.slow
@pytest.mark.survive
@pytest.mark.parametrize("number", range(3))
def test_a_fault_at_every_call_loses_nothing(recorded, expected, tmp_path, promise, broken, number):
    scenario = _scenarios(recorded, expected)[number]
    with promise(f"fault at every I/O call: {scenario.name}") as row:
        calls = count_calls(scenario, tmp_path / scenario.name, broken=broken).calls
        faults = chosen_faults(calls, sample=200 if scenario.name == "machines" else None)
        # One more than there are: it happens never, so that all were tried.
        faults.append(fault_layer.Fault("io_error", len(calls) + 50))
        tries = try_faults(scenario, faults, tmp_path / scenario.name, broken=broken)
        row.tried(cases=tries.cases)
        row.failures += tries.failures
        row.note = f"{len(calls)} calls, {tries.num_states} different folders left"
        if broken is None:
            # A run reads a little more or less often than the one that was counted: then there is no such call.
            missing = len(faults) - 1 - tries.happened
            row.tried(None if missing <= _MOST_MISSING else f"{missing} of {len(faults) - 1} faults never happened")


# That no call is missed -----------------------------------------------------------------------------------------


def test_the_interpreter_tells_of_no_call_that_was_not_counted(recorded, expected, tmp_path):
    for scenario in _scenarios(recorded, expected):
        layer = count_calls(scenario, tmp_path / scenario.name)
        assert layer.missed == []
        kinds = {call.kind for call in layer.calls}
        assert kinds >= {"create", "open", "write", "fsync", "rename", "look", "read", "unlink"}


def test_a_call_that_is_not_counted_would_be_told(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job/file").touch()
    layer = FaultLayer(tmp_path / "job")
    real = fault_layer._REAL["rename"]
    with fault_layer.active(layer):
        real(tmp_path / "job/file", tmp_path / "job/other")
    assert layer.missed == [f"os.rename {tmp_path / 'job/file'}"]


_TRACED = """
import pathlib, sys
from tests.survive import fault_layer, fault_tries, recorded_jobs
base, is_layered = pathlib.Path(sys.argv[1]), sys.argv[2] == "layered"
recorded = recorded_jobs.Recorded.make(base / "inputs", [[1], [1], [1]])
recorded.packed
scenario = fault_tries.job_scenario(recorded, {})
if is_layered:
    layer = fault_tries.count_calls(scenario, base)
    print(*(call.kind for call in layer.calls))
else:
    scenario.act(base / "job", recorded_jobs.RunOf())
"""
_TRACED_CALLS = "write,fsync,rename,mkdir,rmdir,unlink,unlinkat,ftruncate"


@pytest.mark.slow
@pytest.mark.survive
def test_the_system_sees_the_calls_that_are_counted(tmp_path, promise):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace")
    with promise("calls counted are those that the system sees") as row:
        seen, told = {}, []
        for how in ("layered", "plain"):
            log = tmp_path / f"{how}.log"
            done = subprocess.run(
                [strace, "-f", "-y", "-e", f"trace={_TRACED_CALLS}", "-o", str(log), sys.executable, "-c", _TRACED,
                 str(tmp_path / how), how],
                cwd=pathlib.Path(__file__).parent.parent.parent, capture_output=True, text=True, check=True,
            )  # fmt: skip
            told = told or done.stdout.split()
            job = str(tmp_path / how / "job")
            lines = [line for line in log.read_text().splitlines() if job in line and "resumed" not in line]
            names = [match[1] for line in lines if (match := re.search(r"\b(\w+)\(", line))]
            seen[how] = {name: names.count(name) for name in _TRACED_CALLS.split(",")}
        counted = {kind: told.count(kind) for kind in ("write", "fsync", "rename", "mkdir")}
        for kind, number in counted.items():
            for how, found in seen.items():
                row.tried(None if found[kind] == number else f"{kind}: {number} counted, {found[kind]} in a {how} run")
        removals = told.count("unlink") + told.count("rmdir")
        row.note = ", ".join(f"{number} {kind}" for kind, number in counted.items())
        for how, found in seen.items():
            number = found["unlink"] + found["unlinkat"] + found["rmdir"]
            row.tried(None if number >= removals else f"{how}: {number} of {removals} removals")


# What was found by it ----------------------------------------------------------------------------------------------


def test_a_cut_after_the_first_label_leaves_the_manifest(recorded, expected, tmp_path):
    """Its name was not on disk, whatever was synced of its content."""
    scenario = job_scenario(recorded, expected)
    calls = count_calls(scenario, tmp_path / "count").calls
    first = next(
        number for number, call in enumerate(calls) if call.kind == "rename" and call.path.endswith("manifest.json")
    )
    tries = try_faults(scenario, [fault_layer.Fault("cut_names", first)], tmp_path / "tries")
    assert tries.failures == []


def test_a_kill_while_parts_are_taken_away_damages_no_manifest(recorded, expected, tmp_path):
    """A shard wrote down that an item of another one had failed, and neither could read the manifest afterwards."""
    scenario = job_scenario(recorded, expected, ("1/3", "2/3", "3/3"))
    calls = count_calls(scenario, tmp_path / "count").calls
    place = max(number for number, call in enumerate(calls) if call.kind == "rename")
    faults = [
        fault_layer.Fault("killed", number)
        for number in range(place, len(calls))
        if calls[number].kind in ("unlink", "rmdir")
    ]
    assert len(faults) >= 6
    faults = [faults[1], faults[4]]
    assert try_faults(scenario, faults, tmp_path / "tries").failures == []


def test_damage_in_a_part_of_another_machine_is_told_and_mended_by_it(recorded, expected, tmp_path):
    scenario = job_scenario(recorded, expected)
    with in_one_process(recorded, RunOf(), rows_per_shard=1):
        run_recorded(recorded, tmp_path / "job", shard="1/2")
        part = next((tmp_path / "job/parts").rglob("*.parquet"))
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        with pytest.raises(OutputFolderError, match="the labels of another shard on disk are not those"):
            run_recorded(recorded, tmp_path / "job", shard="2/2")
        run_recorded(recorded, tmp_path / "job", shard="1/2")
    assert scenario.check_end(tmp_path / "job", RunOf(), RunOf()) is None
