"""Where YOLO weights of ultralytics lie. Nothing is downloaded unless somebody asks for it."""

import os
import pathlib
import re

from hardmo_jax.perception import ultralytics_import

#: Of the automatic choice, best first: of points only those of BlazePose are used unless somebody asks for the
#: detector's, so that plain weights, which learnt nothing but boxes, come before `-pose`; newer finds more; medium is
#: still quick.
_PREFERENCE = tuple(
    f"{family}{size}{task}.pt"
    for task in ("", "-pose")
    for family in ("yolo26", "yolo11", "yolov8")
    for size in ("m", "s", "l", "x", "n")
)
_BARE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*\.pt", re.ASCII)


class WeightsDownloadError(ConnectionError):
    """Weights could not be downloaded; the message says what else helps."""


def find_weights(
    name_or_path: str | os.PathLike[str], folder: str | os.PathLike[str], *, allow_download: bool = False
) -> pathlib.Path:
    """Path of weights: as given, or by their name in the folder of the models.

    Args:
        name_or_path: `weights/mine.pt` or `yolo11n-pose.pt`.
        folder: Of the models, see `model_files.default_model_folder`.
        allow_download: Whether ultralytics may download them into the folder.

    Raises:
        FileNotFoundError: If there are none; the message names the ways to get them.
        MissingPackageError: If a download is wanted and ultralytics is not installed.
        WeightsDownloadError: If the download fails.
    """
    path, name = pathlib.Path(name_or_path).expanduser(), os.fspath(name_or_path)
    if path.is_file():
        return path
    is_bare = _BARE_NAME.fullmatch(name) is not None
    kept = pathlib.Path(folder) / path.name
    if is_bare and kept.is_file():
        return kept
    if is_bare and allow_download:
        return _download(kept)
    raise FileNotFoundError(
        f"no YOLO weights at {kept if is_bare else path}. Any of these helps: "
        f"(a) put the file at {kept}, or name it by `--config.perception.detector_file=PATH`; "
        "(b) let ultralytics download it by `--config.perception.allow_download=True` "
        f"and a plain name such as {path.name if is_bare else 'yolo11n-pose.pt'}; "
        "(c) use a detector without such weights: `--config.perception.detector=blazepose`, "
        "or an ONNX file of your own by `--config.perception.detector_file=PATH.onnx`"
    )


def installed_weights(folder: str | os.PathLike[str]) -> pathlib.Path | None:
    """The best YOLO weights of a folder; None without any, or without ultralytics.

    Plain weights come first, as their boxes are what is used, then those with points; newer ones before older ones,
    medium ones before others; those of other names (`yolo-mine.pt`) last.
    """
    if not ultralytics_import.has_ultralytics():
        return None
    found = {path.name: path for path in sorted(pathlib.Path(folder).glob("yolo*.pt")) if path.is_file()}
    for name in _PREFERENCE:
        if name in found:
            return found[name]
    return next(iter(found.values()), None)


def _download(path: pathlib.Path) -> pathlib.Path:
    """Let ultralytics fetch a file, and only that."""
    ultralytics_import.import_ultralytics()
    from ultralytics.utils import downloads

    offline = os.environ.pop(ultralytics_import.OFFLINE, None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = pathlib.Path(downloads.attempt_download_asset(path, progress=False))
    except Exception as error:  # of requests, of sockets, and of its own
        raise _no_download(path, f" ({' '.join(str(error).split())[:200]})") from error
    finally:
        if offline is not None:
            os.environ[ultralytics_import.OFFLINE] = offline
    if not found.is_file():
        raise _no_download(path, ": it knows none of that name, or could not ask")
    return found


def _no_download(path: pathlib.Path, reason: str) -> WeightsDownloadError:
    return WeightsDownloadError(
        f"ultralytics could not download {path.name}{reason}; put the file at {path} by hand, "
        "or use `--config.perception.detector=blazepose`"
    )
