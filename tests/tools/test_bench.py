"""What `tools.bench` does where a cell cannot be measured: the result of before stays, and the exit status says so."""

import json
import subprocess

import pytest

from tools import bench
from tools.benchmarks import contestants


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Cells end as told, by measure, and `effect_cpu.json` is there from before."""
    ends, asked = {}, []

    def run(command, **given):
        asked.append(given)
        cell = json.loads(next(word for word in command if word.startswith("--cell=")).removeprefix("--cell="))
        status = ends.get(cell["measure"], 0)
        printed = "whatever is printed\n" + json.dumps([{"measure": cell["measure"], "seconds": 1.0}]) + "\n"
        return subprocess.CompletedProcess(command, status, stdout=printed)

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.setattr(bench.machine, "describe", lambda: {
        "processor": "x", "devices": ["cpu"], "date": "today", "commit": "none",
    })  # fmt: skip
    monkeypatch.setattr(contestants, "write_models", lambda folder: None)
    (tmp_path / "effect_cpu.json").write_text("before")
    return ends, asked


def run(folder, *arguments):
    return bench.main(["--suite=effect", f"--output_dir={folder}", *arguments])


def test_a_cell_that_fails_leaves_the_result_of_before(measured, tmp_path, capsys):
    ends, asked = measured
    ends["lifter"] = 1
    assert run(tmp_path) == 1
    assert (tmp_path / "effect_cpu.json").read_text() == "before"
    told = capsys.readouterr()
    assert "1 of 2 cells of effect were not measured" in told.err
    assert "measure image" in told.out, "what was measured is told all the same"
    # What the measuring process says of its progress and errors goes to the terminal.
    assert not any({"stderr", "capture_output"} & set(given) for given in asked)
    ends.clear()
    assert run(tmp_path) == 0
    rows = json.loads((tmp_path / "effect_cpu.json").read_text())["rows"]
    assert [row["measure"] for row in rows] == ["image", "lifter"]


def test_a_measure_that_there_is_not_is_told_with_those_that_there_are(measured, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, "--only=liftre")
    assert caught.value.code == 2
    assert "--only=liftre: the suite effect has no such measure; known: image, lifter" in capsys.readouterr().err
    assert run(tmp_path, "--only=lifter") == 0
    assert len(measured[1]) == 1
    assert (tmp_path / "effect_cpu.json").read_text() == "before"


def test_ctrl_c_is_one_line(measured, tmp_path, capsys):
    measured[0]["image"] = 130
    assert run(tmp_path) == 130
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("measuring")]
    assert line.startswith("stopped")
    assert (tmp_path / "effect_cpu.json").read_text() == "before"
