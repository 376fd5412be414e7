"""`python -m tools.loop` as a user runs it: what is done already, what is wrong, and the smoke config as a whole."""

import json
import os
import subprocess
import sys
import time

import pytest

from configs import loop as config
from hardmo_jax.pipelines.loop_options import LoopOptions
from tests.pipelines.loop_of_fakes import Fakes, go, pictures_in
from tests.tools.command_line import ROOT, run_each
from tools import _cli

SMOKE = f"--config={ROOT}/configs/loop.py:smoke"


def test_a_finished_loop_has_nothing_to_do_and_mistakes_are_one_line(tmp_path):
    """The loop was done by jobs that do nothing."""
    pictures_in(tmp_path / "in", 16)
    options = _cli.build_options(LoopOptions, config.get_config("smoke"))
    go(tmp_path / "out" / "loop", Fakes([], people=16), options=options, source=tmp_path / "in")
    (tmp_path / "note.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again, other, misspelt, nothing, rendered, alone, unusable = run_each(
        "loop",
        [
            [SMOKE, "--input=in"],
            [SMOKE, "--input=in", "--config.annotate.fit.part_weights.hands=1.2"],
            [SMOKE, "--config.hand.body.modle=x"],
            [SMOKE, "--input=nowhere", "--output_dir=other"],
            [SMOKE, "--input=in", "--config.render.side=64"],
            [SMOKE, "--store=in", "--output_dir=other"],
            [SMOKE, "--input=in", "--output_dir=note.txt/loop"],
        ],
        cwd=tmp_path,
        environment={"COLUMNS": "40"},
    )
    assert again.returncode == 0, again.stderr
    assert "nothing to do: all 2 rounds are done" in again.stdout
    # Whole in a pipe, however narrow the terminal is said to be.
    (line,) = [line for line in again.stdout.splitlines() if line.startswith("wrong hands mined / refined")]
    assert line.split()[-7:] == ["16", "/", "16", "16", "/", "16", "-"]
    assert "caution: it has learnt from 15 people" in again.stdout
    assert "`held out` and `truth, network` are of 1 person only" in again.stdout
    assert "--config.initialise.network=hmr" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    for done, words in (
        (other, "--config.annotate.fit.part_weights.hands was 0.0, and is 1.2"),
        (rendered, "--config.render.side=64: people are rendered without --input only"),
        (alone, "--store=in: people would be rendered"),
        (unusable, "--output_dir=note.txt/loop: Not a directory"),
        (misspelt, "did you mean --config.hand.body.model?"), (nothing, "nowhere: no such file or folder"),
    ):  # fmt: skip
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert words in done.stderr


@pytest.mark.slow
def test_the_smoke_config_survives_a_kill_and_hands_and_feet_come_nearer_to_the_truth(
    perception_models, tmp_path, figure
):
    """`kill -9` in the middle of the second training; the same command goes on at its last checkpoint."""
    command = [sys.executable, "-m", "tools.loop", SMOKE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    folder = tmp_path / "out" / "loop"
    checkpoint = folder / "round_2" / "train" / "checkpoints" / "30"
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first_try:
        until = time.monotonic() + 1500
        while not checkpoint.exists() and first_try.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        assert first_try.poll() is None
        first_try.kill()
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=1500, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "round 2 of 2: hands are refined" not in done.stderr
    assert "going on after step 30" in done.stderr
    assert "after the last round (round_3): people are annotated" in done.stderr
    folder = tmp_path / "out" / "loop"
    first, second, last = json.loads((folder / "table.json").read_text())["rounds"]
    assert first["hand"]["refined"] + first["foot"]["refined"] > 5
    annotated, refined = (first[stage]["scalars"] for stage in ("score_annotated", "score_refined"))
    for part in ("hand", "foot"):
        assert refined[f"pck05_{part}"] > annotated[f"pck05_{part}"]
        assert refined[f"pa_mpjpe_{part}_mm"] < annotated[f"pa_mpjpe_{part}_mm"]
    assert second["merge"]["new"] == last["merge"]["new"] == 0, "the same people are found"
    figure(f"loop, smoke     {(folder / 'table.txt').read_text().splitlines()[-1]}")
