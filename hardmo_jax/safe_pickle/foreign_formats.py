"""Files that people hand over by mistake, told by their first bytes."""

import re

#: First bytes of files that people hand over by mistake.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x93NUMPY", "a single NumPy .npy array"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image or AVI video"),
    (b"\x89HDF", "an HDF5 or MATLAB file"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"glTF", "a glTF mesh"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a git-lfs pointer (run `git lfs pull`)"),
    (b"<", "an HTML or XML page"),
)


def foreign_format(data: bytes) -> str | None:
    """Name what a file is that is not a pickle, judged by its first bytes.

    Args:
        data: Beginning of the file; 512 bytes are enough.

    Returns:
        A phrase such as "a JPEG image", or None if nothing is recognised.
    """
    head = data[:512]
    if head[4:8] == b"ftyp":
        return "an MP4 video or HEIC image"
    for signature, phrase in _SIGNATURES:
        if head.lstrip().startswith(signature):
            return phrase
    if re.match(rb"\s*[\[{]\s*[\[{\"0-9}\]-]", head):
        return "JSON text"
    if head and not head.startswith(b"(") and not re.search(rb"[^\t\n\r -~]", head):
        return "plain text"
    return None
