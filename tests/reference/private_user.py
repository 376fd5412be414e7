"""A user whose home folder, name and photo are known by a word, and who has no network; and a search for the word."""

import base64
import dataclasses
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator

from tests.conftest import ROOT

#: Stands in the home folder, the user's name, the notes of the photo and the password.
WORD = "geheimanna"

# What a program asks of a network is written down and refused; sockets inside of this machine's kernel are not.
_SITE = """
import os, socket, sys, traceback


def _refused(name):
    own = getattr(socket.socket, name, None) if hasattr(socket.socket, name) else getattr(socket, name)

    def ask(*arguments, **words):
        if isinstance(arguments[0] if arguments else None, socket.socket) and arguments[0].family == socket.AF_UNIX:
            return own(*arguments, **words)
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{sys.argv} {name} {arguments[1:] or arguments}\\n{''.join(traceback.format_stack(limit=8))}\\n")
        raise OSError(101, "Network is unreachable")

    setattr(socket.socket if hasattr(socket.socket, name) else socket, name, ask)


for _name in ("connect", "connect_ex", "sendto", "sendmsg", "bind", "listen"):
    _refused(_name)
for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
    _refused(_name)
"""


@dataclasses.dataclass(frozen=True)
class PrivateUser:
    """Where a user works."""

    home: pathlib.Path
    """Also the working folder of commands."""
    models: pathlib.Path
    """Cache of models, as it was warmed."""

    @property
    def asked(self) -> str:
        """What was asked of the network."""
        log = self.home.parent / "network.log"
        return log.read_text() if log.exists() else ""

    def run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess:
        """Run `python -m tools.TOOL` without a network: sockets refuse, and the kernel too where it may be asked to."""
        site = self.home.parent / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(_SITE)
        environment = {
            **os.environ, "HOME": str(self.home), "USER": WORD, "LOGNAME": WORD,
            "HARDMO_CACHE": str(self.models.parent), "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            "NETWORK_LOG": str(self.home.parent / "network.log"),
            "HARDMO_DATA": str(self.home / "nothing"), "MY_TOKEN": f"{WORD}-of-the-environment",
        }  # fmt: skip
        command = [*without_network(), sys.executable, "-m", f"tools.{tool}", *arguments]
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=560)


def without_network() -> list[str]:
    """Before a command: a network of its own in which nothing is, where that may be made."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode:
        return []
    return [unshare, "-rn"]


def private_photo(source: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """A copy of a photo with notes of who took it, with what, and where."""
    from PIL import Image

    note = Image.Exif()
    note[0x010F] = note[0x0110] = note[0x013B] = note[0x8298] = WORD
    note.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0), 29: WORD})
    note.get_ifd(0x8769).update({0x9286: WORD.encode(), 0xA430: WORD})
    with Image.open(source) as image:
        image.save(path, exif=note, quality=95, comment=WORD.encode())
    assert path.read_bytes().count(WORD.encode()) >= 6
    return path


def contents(folder: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all files, and of what is packed in them."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from _unpacked(path.relative_to(folder).as_posix(), path.read_bytes())


def _unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, data
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(data))
        yield f"{name}: schema", str(table.schema.metadata).encode()
        for column in table.column_names:
            for number, value in enumerate(table[column].to_pylist()):
                value = value.get("bytes", value) if isinstance(value, dict) else value
                is_bytes = isinstance(value, bytes)
                yield f"{name}: {column} {number}", value if is_bytes else str(value).encode()
    elif name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from _unpacked(f"{name}: {member}", archive.read(member))
    elif name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    yield from _unpacked(f"{name}: {member.name}", file.read())
    elif name.endswith(".html"):
        for number, text in enumerate(re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", data)):
            yield f"{name}: packed {number}", base64.b64decode(text + b"=" * (-len(text) % 4))


#: What stands in a picture or video that has notes; PNG's by the names of its chunks.
_NOTES = (b"Exif\0\0", b"http://ns.adobe.com/xap", b"tEXt", b"iTXt", b"eXIf", b"\xa9xyz", b"GPSL")


def leaks(folder: pathlib.Path, *words: str) -> list[str]:
    """Files that name the user, or any other word, or hold pictures with notes."""
    found = []
    for name, data in contents(folder):
        lower = data.lower()
        found += [f"{name}: {word}" for word in (WORD, *words) if word.lower().encode() in lower]
        is_picture = data[:2] == b"\xff\xd8" or data[:4] == b"\x89PNG" or data[4:8] == b"ftyp"
        found += [f"{name}: {note!r}" for note in _NOTES if is_picture and note in data]
    return found
