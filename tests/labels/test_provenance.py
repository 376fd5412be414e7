import hashlib
import json
import pathlib
import subprocess
import time

import numpy as np
import pytest

from hardmo_jax.labels import provenance


def test_file_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "a b.bin"
    path.write_bytes(b"content" * 100_000)
    assert provenance.file_sha256(path) == hashlib.sha256(b"content" * 100_000).hexdigest()


def test_run_json_holds_config_command_versions_files_seconds_and_times(tmp_path):
    (tmp_path / "model.npz").write_bytes(b"body")
    record = provenance.RunRecord(
        config={"seed": 0, "fit": {"steps": (10, 20), "rate": np.float32(0.5)}},
        command=["annotate", "--input=walk.mp4"],
        repository=tmp_path,
    )
    with record.stage("detect"):
        time.sleep(0.01)
    with record.stage("detect"):
        time.sleep(0.01)
    record.add_file("body_model", tmp_path / "model.npz")
    record.add("people", np.int64(3))
    run = json.loads(record.write(tmp_path / "run.json").read_text())
    assert run["config"] == {"seed": 0, "fit": {"steps": [10, 20], "rate": 0.5}}
    assert run["command"] == ["annotate", "--input=walk.mp4"]
    assert run["packages"]["numpy"] == np.__version__
    assert run["files"]["body_model"]["sha256"] == hashlib.sha256(b"body").hexdigest()
    assert run["seconds"]["total"] >= run["seconds"]["detect"] >= 0.02
    assert run["results"] == {"people": 3}
    assert run["start_utc"] <= run["end_utc"]
    assert run["git_commit"] is None
    assert run["machine"]["python"]


def test_stage_counts_its_seconds_when_it_raises():
    record = provenance.RunRecord()
    with pytest.raises(KeyError), record.stage("fit"):
        raise KeyError
    assert "fit" in record.seconds


def test_secrets_home_and_environment_do_not_reach_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "environment-secret")
    monkeypatch.setattr(pathlib.Path, "home", lambda: pathlib.Path("/users/jane"))
    record = provenance.RunRecord(
        config={
            "api_key": "config-secret",
            "url": "https://jane:url-secret@host/x",
            "data": "/users/jane/clips",
            "other": "/users/janet/clips",
        },
        command=["annotate", "--token=flag-secret", "--password", "next-secret", "--input=/users/jane/a.mp4"],
        repository=tmp_path,
    )
    text = record.write(tmp_path / "run.json").read_text()
    assert "secret" not in text
    assert "/users/jane/" not in text
    run = json.loads(text)
    assert run["config"]["data"] == "~/clips"
    assert run["config"]["other"] == "/users/janet/clips"
    assert run["command"][-1] == "--input=~/a.mp4"
    assert run["config"]["api_key"] == "***"


def test_number_that_json_cannot_hold_is_written_as_its_name(tmp_path):
    record = provenance.RunRecord(config={"limit": float("inf")}, repository=tmp_path)
    assert json.loads(record.write(tmp_path / "run.json").read_text())["config"]["limit"] == "inf"


def test_config_that_json_cannot_hold_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="`callback` of type"):
        provenance.RunRecord(config={"callback": print}, repository=tmp_path).to_dict()


def test_git_commit_is_found_and_marks_changes(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init")
    (tmp_path / "a.txt").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    commit = provenance.git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "a.txt").write_text("2")
    assert provenance.git_commit(tmp_path) == f"{commit}+changes"


def test_no_repository_or_no_git_gives_no_commit(tmp_path, monkeypatch):
    assert provenance.git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit(tmp_path) is None


def test_versions_of_absent_packages_are_left_out():
    assert provenance.package_versions(("numpy", "surely-not-installed-here")).keys() == {"numpy"}
