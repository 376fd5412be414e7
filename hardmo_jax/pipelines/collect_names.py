"""Names of collected files: letters every file system has, whatever a stranger called the media."""

import hashlib
import re
import unicodedata

_MOST_LETTERS = 48
_ID_DIGITS = 16
#: Names that Windows keeps for devices.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin|conout|clock)")


def short_id(source: str) -> str:
    """Sixteen hexadecimal digits that belong to a source; two of a million sources share them once in 37 million."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]


def slug(title: str) -> str:
    """A title as letters a to z, digits and single hyphens, at most 48; `media` if nothing of it is left."""
    # Accents are taken off letters; what has no such letter is left out.
    plain = unicodedata.normalize("NFKD", title[:1000]).encode("ascii", "ignore").decode()
    # Left out first, as they stand inside of words.
    plain = re.sub(r"['\x00]", "", plain).lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MOST_LETTERS].rstrip("-")
    if not plain:
        return "media"
    return f"media-{plain}" if _DEVICES.fullmatch(plain) else plain


def file_name(title: str, source: str, suffix: str) -> str:
    """Name of the file of a source.

    Args:
        title: What it is called.
        source: Address or path.
        suffix: With its dot, of a list of known ones.
    """
    return f"{slug(title)}-{short_id(source)}{suffix}"
