"""What a file is by its first bytes: the suffix it is stored under never comes from a name that somebody chose."""

#: Bytes that are looked at.
NUM_BYTES = 512

_BEGINNINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"FLV\x01", ".flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (b"\x00\x00\x01\xba", ".mpg"),
    (b"\x00\x00\x01\xb3", ".mpg"),
)
#: Brands of ISO media that are pictures of kinds that are not read.
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--", b"<body", b"<script")
_TS_PACKET = 188


def suffix_of_bytes(beginning: bytes) -> str | None:
    """Suffix of the kind of photo or video that begins with these bytes; None if it is no known one."""
    if beginning[4:8] == b"ftyp":
        if beginning[8:12] in _STILL_BRANDS:
            return None
        return ".mov" if beginning[8:12] == b"qt  " else ".mp4"
    # Old QuickTime files begin with any of these boxes.
    if beginning[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return ".mov"
    if beginning.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm" if b"webm" in beginning[:64] else ".mkv"
    if beginning.startswith(b"RIFF"):
        return {b"AVI ": ".avi", b"WEBP": ".webp"}.get(beginning[8:12])
    if beginning[:1] == b"\x47" and beginning[_TS_PACKET : _TS_PACKET + 1] == b"\x47":
        return ".ts"
    return next((suffix for start, suffix in _BEGINNINGS if beginning.startswith(start)), None)


def is_page(content_type: str, beginning: bytes) -> bool:
    """Whether an answer is a page to read, or a list of other files, and no media.

    Args:
        content_type: As the server says; may be empty or wrong.
        beginning: First bytes; where they are media they win.
    """
    if suffix_of_bytes(beginning) is not None:
        return False
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return True
    return beginning[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES)
