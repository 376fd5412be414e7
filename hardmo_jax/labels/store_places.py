"""Where the labels of a folder are, whichever tool left it."""

import os
import pathlib

from hardmo_jax.labels.store_manifest import MANIFEST

#: Name of the store below the folder of a job of many inputs, and of the file in that of one input.
STORE_FOLDER, LABELS_FILE = "labels", "labels.parquet"


def labels_below(source: str | os.PathLike[str]) -> pathlib.Path:
    """What `store.read_labels` reads of a folder: its `labels.parquet`, the store of a job, or the folder itself.

    Args:
        source: A file stands for itself.
    """
    source = pathlib.Path(source)
    if (source / LABELS_FILE).is_file():
        return source / LABELS_FILE
    if (source / STORE_FOLDER / MANIFEST).is_file():
        return source / STORE_FOLDER
    return source
