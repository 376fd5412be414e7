"""Names of pictures in strangers' files: paths below one folder, and never out of it."""

import os
import re
from typing import Any

from hardmo_jax.data.published.label_fields import LabelPlace, shown_label

_MAX_LETTERS = 1000
#: `C:` of Windows, and schemes such as `http:`.
_DRIVE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def picture_path(folder: str, name: Any, field: str, place: LabelPlace) -> str:
    """Path of a picture; whether there is one, nobody has looked.

    Args:
        folder: Of the pictures.
        name: Of the picture below it, as it stands in a file: text, or its bytes.
        field: Where it stands, for the message.
        place: For the message.

    Raises:
        TrainingDataError: If it is no text, or leads out of the folder.
    """
    if isinstance(name, bytes):
        try:
            name = name.decode()
        except UnicodeDecodeError:
            raise place.error(field, "text in UTF-8", shown_label(name)) from None
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_LETTERS or "\0" in name:
        raise place.error(field, f"the name of a picture, 1 to {_MAX_LETTERS} letters", shown_label(name))
    parts = re.split(r"[/\\]", name)
    if parts[0] == "" or ".." in parts or _DRIVE.match(name):
        raise place.error(field, "a path within the image folder", shown_label(str(name)))
    return os.path.join(folder, *(part for part in parts if part not in ("", ".")))
