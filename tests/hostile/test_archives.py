"""Arrays and tars by strangers: what they declare is compared with what they hold before memory is taken for it."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from hardmo_jax.body import array_files
from hardmo_jax.data.prediction_columns import PredictionError, read_columns
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.published.npz_rows import NpzRows
from hardmo_jax.data.published.tar_members import tar_members
from hardmo_jax.data.sources.amass import read_amass
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.data.training_records import TrainingDataError
from tests.conftest import ROOT
from tests.reference.hostile_pickles import STOP, system

KEY = "ids"  # read by all of the readers below, under this or another name


def npy(shape="(2,)", descr="'<f8'", data=bytes(16), version=b"\x01\x00", more="", length=None):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}\n".encode("latin-1")
    size = len(text) if length is None else length
    return b"\x93NUMPY" + version + size.to_bytes(2 if version[0] == 1 else 4, "little") + text + data


def zip_of(*members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def one(data, **options):
    """The array under every name that a reader asks for."""
    return zip_of(*((f"{name}.npy", data) for name in ("ids", "imgname", "poses")), **options)


def patched(data, marker, offset, new):
    place = data.index(marker) + offset
    return data[:place] + new + data[place + len(new) :]


def bomb():
    """A gigabyte of zeros in a megabyte."""
    count, packer = 1 << 27, zlib.compressobj(9, zlib.DEFLATED, -15)
    head = npy(f"({count},)", data=b"")
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)  # the same wherever it stands
    packed += zeros * (8 * count >> 22) + packer.flush()
    return raw_zip("ids.npy", packed, 0, len(head) + 8 * count)


def raw_zip(name, packed, checksum, size, method=8):
    fields = struct.pack("<HHHHHIII", 20, 0, method, 0, 0, checksum, len(packed), size)
    local = b"PK\x03\x04" + fields + struct.pack("<HH", len(name), 0) + name.encode() + packed
    central = b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name.encode()
    return local + central + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


GIGA = "(1073741824,)"
ARCHIVES = {
    "a shape of gigabytes": lambda: one(npy(GIGA)),
    "a shape of exabytes": lambda: one(npy("(4611686018427387904, 4)")),
    "a shape whose product overflows to what is there": lambda: one(npy("(4294967296, 4294967296, 2)")),
    "a negative axis": lambda: one(npy("(-2,)")),
    "two negative axes": lambda: one(npy("(-1, -2)")),
    "an axis that is a fraction": lambda: one(npy("(2.0,)")),
    "an axis of a thousand digits": lambda: one(npy(f"({'9' * 1000},)")),
    "an axis that is code": lambda: one(npy("(__import__('os').system('true'),)")),
    "forty axes": lambda: one(npy(f"({'1, ' * 40})", data=bytes(8))),
    "no shape": lambda: one(npy("None")),
    "objects": lambda: one(npy("(1,)", "'|O'", b"not a pickle")),
    "objects in records": lambda: one(npy("(1,)", "[('a', '|O')]")),
    "records": lambda: one(npy("(1,)", "[('a', '<f8'), ('b', '<f8')]")),
    "a type that is code": lambda: one(npy("(1,)", "eval('1')")),
    "a type of no bytes": lambda: one(npy("(1000000000000,)", "'<U0'", b"")),
    "a type of raw bytes": lambda: one(npy("(1,)", "'|V16'")),
    "times as a type": lambda: one(npy("(2,)", "'<M8[s]'")),
    "long doubles": lambda: one(npy("(1,)", "'<f16'")),
    "more keys in the header": lambda: one(npy(more="'evil': 1, ")),
    "a header of ten megabytes": lambda: one(npy(version=b"\x02\x00", more=" " * 10_000_000)),
    "a header longer than the file": lambda: one(npy(version=b"\x02\x00", length=1 << 31)),
    "a header of nothing": lambda: one(b"\x93NUMPY\x01\x00\x00\x00"),
    "a header that is nested": lambda: one(b"\x93NUMPY\x01\x00\x88\x13" + b"(" * 5000),
    "a header that is no text": lambda: one(b"\x93NUMPY\x01\x00\xff\x00" + b"\xff" * 255),
    "version 9": lambda: one(npy(version=b"\x09\x00")),
    "an array cut off": lambda: one(npy(data=bytes(15))),
    "bytes behind an array": lambda: one(npy(data=bytes(17))),
    "a pickle for an array": lambda: one(b"\x80\x04N."),
    "an empty member": lambda: one(b""),
    "a member twice": lambda: zip_of(("ids.npy", npy()), ("idx.npy", npy())).replace(b"idx.npy", b"ids.npy"),
    "a member of a thousand": lambda: zip_of(*((f"{place}.npy", npy()) for place in range(1000))),
    "no array": lambda: zip_of(("ids.txt", b"text")),
    "an empty archive": lambda: zip_of(),
    "no archive": lambda: b"PK\x03\x04 and no more",
    "a bomb of a thousand to one": bomb,
    "a directory that says another size": lambda: patched(one(npy()), b"PK\x01\x02", 24, b"\xff\xff\xff\x7f"),
    "a directory that says another place": lambda: patched(one(npy()), b"PK\x01\x02", 42, b"\xff\xff\x00\x00"),
    "a directory with another checksum": lambda: patched(one(npy()), b"PK\x01\x02", 16, b"\x01\x02\x03\x04"),
    "a directory that is encrypted": lambda: patched(one(npy()), b"PK\x01\x02", 8, b"\x01"),
    "a directory that is beyond the file": lambda: patched(one(npy()), b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),
    "a directory of four gigabytes": lambda: patched(one(npy()), b"PK\x05\x06", 12, b"\xf0\xff\xff\xff"),
    "a stream that is no deflate": lambda: raw_zip("ids.npy", b"\xff" * 64, 0, len(npy())),
    "bzip2": lambda: one(npy(), compression=zipfile.ZIP_BZIP2),
    "LZMA": lambda: one(npy(), compression=zipfile.ZIP_LZMA),
    "LZMA with a dictionary of four gigabytes": lambda: raw_zip(
        "ids.npy", b"\x09\x04\x05\x00\x5d\xff\xff\xff\xff" + bytes(64), 0, len(npy()), method=14
    ),
    "a compression that nobody knows": lambda: raw_zip("ids.npy", npy(), zlib.crc32(npy()), len(npy()), method=99),
}  # fmt: skip


def read_every_row(path):
    rows = NpzRows(path)
    for name in rows.names:
        rows.read([name])


NPZ_READERS = {
    "a body's arrays": (lambda path: array_files.read_npz(path.read_bytes(), source="x"), array_files.BodyFileError),
    "rows of labels": (read_every_row, (TrainingDataError,)),
    "AMASS": (read_amass, MotionFileError),
    "predictions": (read_columns, PredictionError),
}


@pytest.mark.parametrize("attack", list(ARCHIVES))
def test_hostile_archive_is_refused_by_all_that_read_arrays(attack, tmp_path):
    from hardmo_jax import safe_pickle

    file = tmp_path / "a.npz"
    file.write_bytes(ARCHIVES[attack]())
    for name, (read, error) in NPZ_READERS.items():
        errors = (*np.atleast_1d(error), safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)
        with pytest.raises(errors) as told:
            read(file)
        assert type(told.value).__module__.startswith("hardmo_jax."), name
        assert "\n" not in str(told.value)


_MUTATE = """
import resource, sys, time
import numpy as np
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS
target = TARGETS["npz"]
seeds, generator = target.seeds(), np.random.default_rng(7)
target.run(seeds[0])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20), used + (700 << 20)))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
taken = sum(target.run(mutated(seeds, generator)) for _ in range(2000))
print(taken)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_two_thousand_damaged_archives_stay_within_their_memory():
    """A value or our error: no other, no more memory than the cap of arrays and a little, and an end."""
    done = subprocess.run([sys.executable, "-c", _MUTATE], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 100 < int(done.stdout) < 1900


# ---- tars ------------------------------------------------------------------------------------------------------

PHOTO = b"\xff\xd8\xff"


def member(name="1.data.pyd", data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_of(*members, form=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def block_of(info):
    return info.tobuf(tarfile.GNU_FORMAT)


def with_size(size):
    """A header that claims so much, with its checksum."""
    info, _ = member()
    block = bytearray(block_of(info))
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def long_name(length):
    """GNU's way to tell a name of more than a hundred letters."""
    whole = tar_of(member("././@LongLink", b"n" * length, type=tarfile.GNUTYPE_LONGNAME))
    return whole[: 512 + -(-length // 512) * 512]


def pax(content):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(content)
    return block_of(info) + content.ljust(-(-len(content) // 512) * 512, b"\0") + block_of(member()[0])


NAMES = {
    "a way out": "../../evil.data.pyd",
    "a way out within": "a/../../evil.data.pyd",
    "an absolute path": "/tmp/evil.data.pyd",
    "a drive of Windows": "C:\\evil.data.pyd",
    "a share of Windows": "\\\\host\\share\\evil.data.pyd",
    "a device of Windows": "CON.data.pyd",
    "a line break": "a\nb.data.pyd",
    "a bell and an escape": "\x07\x1b[2J.data.pyd",
    "text from right to left": "\u202egpj.data.pyd",
    "a name of 300 letters": "n" * 300 + ".data.pyd",
    "a leading dash": "-rf.data.pyd",
}
#: Kinds of members that are no files: passed over, whatever they point to.
KINDS = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a symbolic link out": {"type": tarfile.SYMTYPE, "linkname": "../../../etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "a character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "a block device": {"type": tarfile.BLKTYPE, "devmajor": 8},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a folder": {"type": tarfile.DIRTYPE},
}
#: Tars that are refused whole, or in which nobody is found.
BAD_TARS = {
    "a size beyond the file": lambda: with_size(1 << 30),
    "a size of eight gigabytes": lambda: with_size((8 << 30) - 1),
    "a size of 2^80 bytes in base 256": lambda: with_size(b"\x80\x01" + bytes(10)),
    "a negative size in base 256": lambda: with_size(b"\xff" * 12),
    "a negative size": lambda: with_size(b"-0000000001\0"),
    "a size of letters": lambda: with_size(b"evilevilevil"),
    "a size of eights": lambda: with_size(b"88888888888\0"),
    "a wrong checksum": lambda: block_of(member()[0])[:148] + b"0000001\0" + block_of(member()[0])[156:],
    "half a header": lambda: block_of(member()[0])[:300],
    "a sparse file": lambda: tar_of(member(type=tarfile.GNUTYPE_SPARSE)),
    "a long name without a file": lambda: long_name(200),
    "a long name of a megabyte": lambda: long_name(1 << 20) + tar_of(member()),
    "long names without end": lambda: long_name(200) * 50 + tar_of(member()),
    "an extended header that lies about its length": lambda: pax(b"99 path=evil\n"),
    "an extended header of length nothing": lambda: pax(b"0 path=evil\n"),
    "an extended header of a negative length": lambda: pax(b"-9 path=evil\n"),
    "an extended header without a value": lambda: pax(b"9 path \n\n"),
    "an extended header with another size": lambda: pax(b"14 size=99999\n"),
    "an extended header of a megabyte": lambda: pax(b"x" * (1 << 20)),
    "gzip": lambda: gzip.compress(tar_of(member())),
    "a zip": lambda: zip_of(("1.data.pyd", b"")),
    "nothing": lambda: b"",
    "nothing but zeros": lambda: bytes(10240),
    "a checkpoint": lambda: tar_of(member("1.pt", b"\x80\x04N.")),
    "a pickle of another ending": lambda: tar_of(member("1.pickle", b"\x80\x04N."), member("1.pkl", b"\x80\x04N.")),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in, beside the one of the tar."""
    (tmp_path / "here").mkdir()
    (tmp_path / "tars").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def check_nothing_was_written(folder):
    assert [path.name for path in folder.rglob("*") if path.is_file() or path.is_symlink()] == ["1.tar"]


@pytest.mark.parametrize("kind", list(NAMES))
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["GNU", "PAX"])
def test_names_are_nothing_but_names_and_pickles_in_them_are_refused(kind, form, folder):
    canary = folder / "canary"
    name = NAMES[kind]
    photo = name.removesuffix(".data.pyd") + ".jpg"
    (folder / "tars/1.tar").write_bytes(tar_of(member(photo, PHOTO), member(name, system(canary) + STOP), form=form))
    source = Hmr2Tars(folder / "tars/1.tar")
    for index in range(len(source)):
        with pytest.raises(Exception, match="refused") as told:
            source.record(index)
        assert type(told.value).__module__.startswith("hardmo_jax.")
        assert "\n" not in str(told.value)
        assert "\x1b" not in str(told.value)
    check_nothing_was_written(folder)


@pytest.mark.parametrize("kind", list(KINDS))
def test_members_that_are_no_files_are_passed_over(kind, folder):
    (folder / "tars/1.tar").write_bytes(tar_of(member("1.jpg", **KINDS[kind]), member("1.data.pyd", **KINDS[kind])))
    assert list(tar_members(folder / "tars/1.tar")) == []
    with pytest.raises(TrainingDataError, match="must hold labels"):
        Hmr2Tars(folder / "tars/1.tar")
    check_nothing_was_written(folder)


@pytest.mark.parametrize("kind", list(BAD_TARS))
def test_bad_tar_is_refused(kind, folder):
    (folder / "tars/1.tar").write_bytes(BAD_TARS[kind]())
    with pytest.raises(TrainingDataError) as told:
        Hmr2Tars(folder / "tars/1.tar")
    assert "\n" not in str(told.value)
    check_nothing_was_written(folder)


def test_a_label_that_is_there_twice_is_read_once(folder):
    bad = system(folder / "canary") + STOP
    members = [member("1.jpg", PHOTO), member("1.data.pyd", bad), member("1.data.pyd", bad)]
    (folder / "tars/1.tar").write_bytes(tar_of(*members))
    assert len(Hmr2Tars(folder / "tars/1.tar")) == 1
    check_nothing_was_written(folder)


@pytest.mark.slow
def test_a_million_members_are_not_kept(folder):
    """Half a gigabyte of headers; of them nothing is kept but a number for each label."""
    block = block_of(member("1.txt")[0])
    with (folder / "tars/1.tar").open("wb") as file:
        for _ in range(1000):
            file.write(block * 1000)
    code = (
        "import resource, sys; from hardmo_jax.data.published.tar_members import tar_members\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(1 for _ in tar_members(sys.argv[1]))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, os.fspath(folder / "tars/1.tar")]
    count, grown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == 1_000_000
    assert int(grown) < 20_000  # KiB


def test_json_of_a_stranger_in_a_tar_is_not_read(folder):
    (folder / "tars/1.tar").write_bytes(tar_of(member("1.json", json.dumps({"a": 1}).encode())))
    with pytest.raises(TrainingDataError):
        Hmr2Tars(folder / "tars/1.tar")
