"""What is installed and shipped is what was looked at: pins, floors under known holes, a wheel that is the tree."""

import importlib.metadata
import io
import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

#: Extras that `make annotate` and `make demo` install.
DEFAULT_EXTRAS = ("perception", "viz", "train")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = ROOT / "requirements.lock"
_PIN = re.compile(
    r"^([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)(?: ; ([^\\]+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M
)

#: Oldest release without a hole that is known and that files of strangers reach.
FLOORS = {
    "pyarrow": "14.0.1",  # CVE-2023-47248: extension types were unpickled
    "ray": "2.56.0",  # CVE-2026-41486 and CVE-2026-57516: so were schemas and archives
    "datasets": "5.1.1",  # CVE-2026-57845
    "av": "17.1.0",  # bundles FFmpeg; CVE-2026-40962
    "opencv-python": "5.0.0.93",  # bundles FFmpeg 5.1 before
    "numpy": "1.16.3",  # CVE-2019-6446
    "torch": "2.10",  # CVE-2025-32434, CVE-2026-24747
    "yt-dlp": "2026.7.4",  # five of 2026
    "ultralytics": "8.3.47",  # four releases before carried a miner
}
#: Of FFmpeg 8.1, the first without CVE-2026-40962.
LIBAVCODEC = (62, 28)


def declared(extras):
    """Requirements of the project and of extras."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [Requirement(line) for line in lines if not line.startswith("hardmo_jax[")]


def pins():
    """Name, version and marker of every line of the lock."""
    return [
        (canonicalize_name(name), Version(version), marker)
        for name, version, marker, _ in _PIN.findall(LOCK.read_text())
    ]


def test_every_line_of_the_lock_is_a_version_with_checksums_and_nothing_else():
    text = LOCK.read_text()
    rest = [line for line in _PIN.sub("", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert rest == []
    assert len(pins()) > 50
    # No index, no address and no folder of anybody's machine: where packages come from is for who installs to say.
    assert re.findall(r"https?:|file:|--(?:extra-)?index|--find-links|(?<![\w.])/\w+/", text) == []


def test_the_lock_has_what_the_project_asks_for():
    locked = {}
    for name, version, _ in pins():
        locked.setdefault(name, []).append(version)
    for requirement in declared(DEFAULT_EXTRAS):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not locked; run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement.name}=={version}; run `make lock`"
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            constraint = Requirement(line)
            for version in locked.get(canonicalize_name(constraint.name), []):
                assert constraint.specifier.contains(version), line
    # Extras that their users choose stay out: AGPL, gigabytes, and releases that come faster than locks.
    assert {"torch", "ultralytics", "ray", "yt-dlp", "opencv-python-headless"} & set(locked) == set()


def test_the_lock_has_what_its_packages_ask_for():
    locked = {name for name, _, _ in pins()}
    here = default_environment()
    for name in sorted(locked):
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({**here, "extra": ""}):
                assert canonicalize_name(requirement.name) in locked, f"{name} asks for {requirement}"


def test_what_runs_here_is_what_is_locked(figure):
    """Not a promise: other releases may be installed. But the lock is to be what is tested."""
    other = []
    for name, version, _ in pins():
        try:
            found = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
        if found.public != version.public:
            other.append(f"{name} {found}, locked {version}")
    figure(f"packages that run here in another release than the locked one: {len(other)} {'; '.join(other)}")


@pytest.mark.parametrize("name", FLOORS)
def test_the_project_asks_for_nothing_below_the_floor(name):
    asked = [requirement for requirement in declared(EXTRAS) if canonicalize_name(requirement.name) == name]
    assert asked
    floor = Version(FLOORS[name])
    for requirement in asked:
        lowest = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
        assert lowest, f"{requirement} has no floor"
        assert max(lowest) >= floor, f"{requirement} lets releases below {floor} in"


@pytest.mark.parametrize("name", FLOORS)
def test_what_is_installed_is_above_the_floor(name):
    try:
        found = Version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert found >= Version(FLOORS[name])


def test_releases_that_carried_a_miner_are_excluded():
    (asked,) = [requirement for requirement in declared(("yolo",)) if requirement.name == "ultralytics"]
    for version in ("8.3.41", "8.3.42", "8.3.45", "8.3.46"):
        assert not asked.specifier.contains(version)


def test_bundled_decoders_are_those_of_a_mended_ffmpeg(figure):
    import av
    import cv2

    found = av.library_versions["libavcodec"]
    of_opencv = re.search(r"avcodec:\s+YES \((\d+)\.(\d+)\.", cv2.getBuildInformation())
    versions = ".".join(map(str, found)), ".".join(of_opencv.groups()) if of_opencv else "none"
    figure("libavcodec: {} in PyAV, {} in OpenCV".format(*versions))
    assert found[:2] >= LIBAVCODEC
    if of_opencv is not None:
        assert tuple(map(int, of_opencv.groups())) >= LIBAVCODEC


def test_there_is_one_opencv():
    """Two write into the same folder, and which decoders are there then nobody knows."""
    names = {canonicalize_name(one.metadata["Name"] or "") for one in importlib.metadata.distributions()}
    assert len(names & {"opencv-python", "opencv-python-headless", "opencv-contrib-python"}) == 1


# ---- the wheel -------------------------------------------------------------------------------------------------


def built(folder):
    """A wheel of the tree, by the build system of the project."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="builds wheels")
    pytest.importorskip("build", reason="builds wheels")
    return built(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_the_wheel_is_the_tree(wheel):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "hardmo_jax"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("no working tree")
    names = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == names
        assert [name for name in sorted(held) if archive.read(name) != (ROOT / name).read_bytes()] == []
        info = {name.split("/", 1)[1] for name in archive.namelist() if ".dist-info/" in name}
    assert info == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE", "licenses/THIRD_PARTY.md"}


@pytest.mark.slow
def test_two_builds_are_the_same_bytes(wheel, tmp_path):
    assert built(tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_wheel_holds_no_program_that_nobody_can_read(wheel):
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
        for name in archive.namelist():
            begin = archive.read(name)[:4]
            assert begin not in (b"\x7fELF", b"MZ\x90\0", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe"), name
            assert not name.endswith((".so", ".pyd", ".dll", ".dylib", ".pkl", ".pt", ".pth", ".exe", ".sh")), name
