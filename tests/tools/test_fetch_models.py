import hashlib
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from hardmo_jax.perception import model_files

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _pin(name, content, member=""):
    return model_files.PinnedFile(
        name=name, member=member, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A small wheel with two models and hostile neighbours, pinned in place of the real one."""
    contents = {"one": b"first model", "two": b"second model"}
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.tflite", b"evil")
        archive.writestr("/abs/one.tflite", b"evil")
        for name, content in contents.items():
            archive.writestr(f"pkg/{name}.tflite", content)
    pins = {name: _pin(f"{name}.tflite", content, f"pkg/{name}.tflite") for name, content in contents.items()}
    monkeypatch.setattr(model_files, "MODEL_FILES", pins)
    monkeypatch.setattr(model_files, "WHEEL", _pin("wheel.whl", path.read_bytes()))
    return path


def test_models_are_copied_and_nothing_else(wheel, tmp_path):
    folder = tmp_path / "deep" / "cache"
    before = set(tmp_path.rglob("*"))
    written = model_files.fetch_models(folder, wheel)
    assert [path.read_bytes() for path in written] == [b"first model", b"second model"]
    assert set(tmp_path.rglob("*")) - before == {folder.parent, folder, *written}


def test_a_second_fetch_touches_nothing_and_needs_no_network(wheel, tmp_path, monkeypatch):
    model_files.fetch_models(tmp_path / "cache", wheel)

    def no_download(folder):
        raise RuntimeError("network")

    monkeypatch.setattr(model_files, "download_wheel", no_download)
    assert model_files.fetch_models(tmp_path / "cache") == ()
    with pytest.raises(RuntimeError, match="network"):
        model_files.fetch_models(tmp_path / "empty")


def test_only_damaged_files_are_written_again(wheel, tmp_path):
    model_files.fetch_models(tmp_path / "cache", wheel)
    (tmp_path / "cache" / "two.tflite").write_bytes(b"second modeL")
    with pytest.raises(model_files.ModelFileError, match="fetch it again"):
        model_files.model_path(tmp_path / "cache", "two")
    (written,) = model_files.fetch_models(tmp_path / "cache", wheel)
    assert written.name == "two.tflite"


def test_another_wheel_is_refused_before_it_is_opened(wheel, tmp_path):
    content = bytearray(wheel.read_bytes())
    content[-1] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(model_files.ModelFileError, match="SHA-256"):
        model_files.fetch_models(tmp_path / "cache", wheel)
    wheel.write_bytes(content + b"x")
    with pytest.raises(model_files.ModelFileError, match="bytes"):
        model_files.fetch_models(tmp_path / "cache", wheel)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"first modeX", b"a longer thing than was pinned"])
def test_a_member_with_other_content_is_refused(wheel, tmp_path, monkeypatch, content):
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/one.tflite", content)
    monkeypatch.setattr(model_files, "WHEEL", _pin("wheel.whl", wheel.read_bytes()))
    with pytest.raises(model_files.ModelFileError, match=r"pkg/one\.tflite has"):
        model_files.fetch_models(tmp_path / "cache", wheel)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_without_the_member_is_refused(wheel, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other", b"")
    monkeypatch.setattr(model_files, "WHEEL", _pin("wheel.whl", wheel.read_bytes()))
    with pytest.raises(model_files.ModelFileError, match=r"holds no pkg/one\.tflite"):
        model_files.fetch_models(tmp_path / "cache", wheel)


def test_an_interrupted_write_leaves_the_old_file_and_no_scraps(wheel, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "one.tflite").write_bytes(b"old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(model_files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        model_files.fetch_models(folder, wheel)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"one.tflite": b"old"}


def test_missing_models_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m tools\.fetch_models"):
        model_files.model_path(tmp_path, "pose_detection")
    with pytest.raises(KeyError, match="known: pose_detection"):
        model_files.model_path(tmp_path, "face")


def test_default_folder_follows_the_environment():
    assert model_files.default_model_folder({"HARDMO_CACHE": "/a"}) == pathlib.Path("/a/models")
    assert model_files.default_model_folder({"XDG_CACHE_HOME": "/b"}) == pathlib.Path("/b/hardmo_jax/models")
    assert model_files.default_model_folder({}).parts[-2:] == ("hardmo_jax", "models")


def test_pip_is_asked_for_the_linux_wheel_without_installing_it(tmp_path, monkeypatch):
    seen = []

    def run(command, **kwargs):
        seen.extend(command)
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no such thing\nmore noise")

    monkeypatch.setattr(model_files.subprocess, "run", run)
    with pytest.raises(RuntimeError, match=r"ERROR: no such thing; .*--wheel=PATH"):
        model_files.download_wheel(tmp_path)
    wanted = {"download", "--no-deps", "--only-binary=:all:", "--python-version=3.11", "mediapipe==0.10.21"}
    assert wanted | {"--platform=manylinux_2_28_x86_64"} <= set(seen)


def test_without_pip_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(model_files.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="ensurepip"):
        model_files.download_wheel(tmp_path)


def _run_tool(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tools.fetch_models", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_tool_is_done_at_once_when_all_files_are_there(perception_models):
    done = _run_tool(f"--folder={perception_models}")
    assert done.returncode == 0
    assert "wrote" not in done.stderr


def test_tool_reports_failure_in_one_line_and_by_its_exit_code(tmp_path):
    done = _run_tool(f"--wheel={tmp_path / 'none.whl'}", HARDMO_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert "no wheel at" in done.stderr
    assert "Traceback" not in done.stderr
