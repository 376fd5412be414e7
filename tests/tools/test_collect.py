"""`python -m tools.collect` as a user meets it: table, exit status, mistakes in one line."""

import json
import subprocess
import sys

import pytest

from tests.pipelines import media_server
from tests.tools import command_line
from tests.tools.command_line import ROOT


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collect")
    media_server.write_clip(folder / "one.mp4", 1)
    media_server.write_clip(folder / "two.mp4", 2)
    with media_server.served(folder) as server:
        good = folder / "good.csv"
        good.write_text(
            "source,category,licence,query,title\n"
            f'{server.base}/plain/one.mp4,tango,CC0,"tango, by hand",\x1b[31mred\n'
            "two.mp4,k-pop,CC BY 4.0,by hand,\n"
        )
        bad = folder / "bad.csv"
        bad.write_text(
            "source,category,licence,query\n"
            f"{server.base}/plain/one.mp4,tango,unknown,x\n{server.base}/plain/absent.mp4,tango,CC0,x\n"
        )
        misspelt = folder / "misspelt.csv"
        misspelt.write_text("source,category,licence,query\none.mp4,tnago,CC0,x\n")
        smoke = f"--config={ROOT}/configs/collect.py:smoke"
        lines = {
            "first": [smoke, f"--manifest={good}", f"--output_dir={folder}/out"],
            "second": [smoke, f"--manifest={good}", f"--output_dir={folder}/out"],
            "bad": [smoke, f"--manifest={bad}", f"--output_dir={folder}/out2"],
            "misspelt": [smoke, f"--manifest={misspelt}", f"--output_dir={folder}/out3"],
            "absent": [f"--manifest={folder}/absent.csv"],
            "unknown option": [f"--manifest={good}", "--config.fetch.min_seconds=3"],
            "no host": [f"--manifest={good}", f"--output_dir={folder}/out4"],
        }
        done = dict(zip(lines, command_line.run_each("collect", list(lines.values())), strict=True))
    return folder, server, done


def test_all_is_well(runs):
    folder, _, done = runs
    assert (done["first"].returncode, done["first"].stderr) == (0, "")
    rows = [json.loads(line) for line in (folder / "out" / "collected.jsonl").read_text().splitlines()]
    assert [(row["status"], row["category"], row["query"]) for row in rows] == [
        ("kept", "tango", "tango, by hand"), ("kept", "k_pop", "by hand"),
    ]  # fmt: skip
    assert all((folder / "out" / row["file"]).is_file() for row in rows)
    assert "\x1b" not in done["first"].stdout


def test_a_second_run_fetches_nothing(runs):
    _, server, done = runs
    assert done["second"].returncode == 0
    assert "in this run, 0 bytes" in done["second"].stdout
    assert [path for path, _ in server.log].count("/plain/one.mp4") == 1


def test_what_could_not_be_had_is_told_by_the_exit_status(runs):
    _, _, done = runs
    assert done["bad"].returncode == 3
    assert "has no licence" in done["bad"].stdout
    assert "status 404: not there" in done["bad"].stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misspelt", "line 2: unknown category 'tnago'; did you mean 'tango'"),
        ("absent", "no manifest at"),
        ("unknown option", "no such option; did you mean --config.fetch."),
    ],
)
def test_mistakes_are_one_line(runs, name, message):
    done = runs[2][name]
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_this_machine_is_not_asked_by_default(runs):
    done = runs[2]["no host"]
    assert done.returncode == 3
    assert "this machine" in done.stdout


def test_help_needs_nothing_loaded():
    code = "import sys, tools.collect; print([m for m in ('yt_dlp', 'av', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
