"""Fetch the model files of the default perception: `python -m tools.fetch_models`.

They are taken from a wheel that pip downloads (36 MB) and kept in the user's cache folder, or where
`HARDMO_CACHE` or `--folder` says. Files that are there and intact are left alone.
"""

import os
from collections.abc import Sequence

from absl import app, flags, logging

from hardmo_jax.perception import model_files

_FOLDER = flags.DEFINE_string("folder", None, "Where the files go; default: the user's cache folder.")
_WHEEL = flags.DEFINE_string("wheel", None, f"{model_files.WHEEL.name} if it is on the disk already.")


def main(argv: Sequence[str]) -> int:
    """Fetch what is missing; exit code 1 with one line if that failed."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    folder = _FOLDER.value or model_files.default_model_folder(os.environ)
    try:
        written = model_files.fetch_models(folder, _WHEEL.value)
    except (OSError, RuntimeError, ValueError) as error:
        logging.error("%s", error)
        return 1
    for path in written:
        logging.info("wrote %s", path)
    logging.info("%d model files are in %s", len(model_files.MODEL_FILES), folder)
    return 0


if __name__ == "__main__":
    app.run(main)
