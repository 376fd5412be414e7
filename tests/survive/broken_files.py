"""Files that are broken in ten ways, as they come from disks, downloads and strangers."""

import os
import pathlib
import struct

import numpy as np

from tests.perception import made_videos


def break_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Ten inputs of which nothing can be labelled."""
    folder.mkdir(parents=True)
    whole = folder / "whole.mp4"
    rng = np.random.default_rng(0)
    made_videos.write(whole, [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(6)])
    content = whole.read_bytes()
    whole.unlink()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This page cannot be found.")
    (folder / "cut_in_its_header.mp4").write_bytes(content[:40])
    (folder / "without_index.mp4").write_bytes(content.replace(b"moov", b"nope"))
    (folder / "of_zeros.mkv").write_bytes(bytes(4096))
    # Root reads what nobody may read.
    denied = folder / "denied.mp4"
    if os.geteuid():
        denied.write_bytes(content)
        denied.chmod(0)
    else:
        denied.symlink_to(denied)
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    _photo(folder / "cut photo", b"\xff\xd8\xff\xe0\x00\x10JFIF")
    header = struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    _photo(folder / "huge photo", b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4))
    (folder / "no photos").mkdir()
    return sorted(path for path in folder.iterdir())


def _photo(folder: pathlib.Path, content: bytes) -> None:
    folder.mkdir()
    (folder / ("photo.png" if content.startswith(b"\x89") else "photo.jpg")).write_bytes(content)
