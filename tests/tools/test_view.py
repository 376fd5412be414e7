"""`python -m tools.view` as a user runs it: it says where to look, and ends in order."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from hardmo_jax.labels import store
from tests.labels.test_schema import make_row
from tests.pipelines import refined_people
from tests.tools.command_line import ROOT, run_each

pytest.importorskip("viser", reason="the viewer needs viser, of the extra `viz`")


def test_what_cannot_be_looked_at_is_told_in_one_line(tmp_path):
    store.write_labels(tmp_path / "other" / "labels.parquet", [make_row()])
    store.write_labels(tmp_path / "none" / "labels.parquet", [])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "labels.parquet").write_bytes(b"PAR1 is not enough")
    here = str(tmp_path / "other")
    for done, message in zip(
        run_each(
            "view",
            [
                [str(tmp_path / "nowhere")], [f"--labels={tmp_path / 'none'}"], [str(tmp_path / "broken")], [here],
                [here, f"--body={tmp_path / 'no.npz'}"], [here, "--port=0"], [here, "out/demo"],
            ],
        ),
        (
            "no such label file", "no label is in it", "labels.parquet", "is not the one that was loaded", "no.npz",
            "port", "unexpected argument",
        ),
        strict=True,
    ):  # fmt: skip
        assert done.returncode in (1, 2), done.stdout
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_it_tells_an_address_that_answers_and_saves_at_its_end(tmp_path):
    rows = refined_people.write_photos(refined_people.planted_labels(4)[0][:2], tmp_path)
    others = [dataclasses.replace(row, body_model="another", label_id="") for row in rows[:1]]
    others = [dataclasses.replace(row, track_id=7, label_id="") for row in others]
    store.write_labels(tmp_path / "labels.parquet", [*rows, *others])
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.view", str(tmp_path), f"--pictures={tmp_path}", "--port=8345"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        told = []
        while not told or "open http" not in told[-1]:
            told.append(process.stdout.readline())
            assert told[-1], process.stderr.read()
        assert "2 labels in 2 pictures" in told[-1]
        assert any("1 labels of other bodies are not shown" in line for line in told)
        address = re.search(r"http://127\.0\.0\.1:\d+", told[-1])[0]
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "all that was said is saved" in rest
    assert len(store.read_labels(tmp_path).rows) == 3
