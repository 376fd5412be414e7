"""Archives and arrays are read under caps: those that lie, are damaged or would run code are refused."""

import contextlib
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardmo_jax.body import array_files
from hardmo_jax.body import io as body_io
from tests.reference import hostile_pickles

#: A refusal may need some memory for headers and messages, but nothing of what a file declares.
MAX_REFUSAL_BYTES = 4_000_000
GIGABYTES = 2 << 30


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + data


def archive_of(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def corrupted(data: bytes) -> bytes:
    position = data.index(b"PAYLOAD!")
    return data[:position] + b"X" + data[position + 1 :]


def encrypted(data: bytes) -> bytes:
    mutant = bytearray(data)
    mutant[6] |= 1
    mutant[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(mutant)


def larger_on_paper(data: bytes) -> bytes:
    """Declare 4 GiB in the archive's directory."""
    position = data.index(b"PK\x01\x02") + 24
    return data[:position] + b"\xf0\xff\xff\xff" + data[position + 4 :]


def shape_header(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a member twice": (
        lambda: archive_of(("a.npy", npy(np.ones(2))), ("b.npy", npy(np.ones(2)))).replace(b"b.npy", b"a.npy"),
        "occurs twice",
    ),
    "a sparse matrix as an object": (
        lambda: archive_of(("a.npy", npy(np.array({"x": 1}, dtype=object)))), r"Python object .*toarray\(\)",
    ),
    "a record array": (
        lambda: archive_of(("a.npy", npy(np.zeros(2, [("x", "f8")])))), "does not read",
    ),
    "a shape larger than the data": (
        lambda: archive_of(("a.npy", header(shape_header("(1000, 3)"), bytes(80)))), "declares 24000 bytes",
    ),
    "a shape of exabytes": (
        lambda: archive_of(("a.npy", header(shape_header("(1152921504606846976, 3)")))), "declares the shape",
    ),
    "a negative shape": (lambda: archive_of(("a.npy", header(shape_header("(-1, 3)")))), "does not read"),
    "code in a header": (
        lambda: archive_of(("a.npy", header(shape_header("(__import__('os').getpid(), 3)")))), "does not read",
    ),
    "a nested header": (lambda: archive_of(("a.npy", header("(" * 5000 + ")" * 5000))), "does not read"),
    "a header of 60 kilobytes": (
        lambda: archive_of(("a.npy", header(shape_header("(1,)") + " " * 60_000, bytes(8)))), "a header of",
    ),
    "a future version": (
        lambda: archive_of(("a.npy", header(shape_header("(1,)"), bytes(8), b"\x09\x00"))), "not a NumPy array",
    ),
    "a member that is no array": (lambda: archive_of(("a.npy", b"hello")), "not a NumPy array"),
    "a pickle as a member": (lambda: archive_of(("a.npy", b"cos\nsystem\n(S'true'\ntR.")), "not a NumPy array"),
    "a wrong checksum": (
        lambda: corrupted(archive_of(("a.npy", npy(np.frombuffer(b"PAYLOAD!", "f8"))))), "damaged or cut-off",
    ),
    "an encrypted member": (lambda: encrypted(archive_of(("a.npy", npy(np.ones(2))))), "encrypted"),
    "an unusual compression": (
        lambda: archive_of(("a.npy", npy(np.ones(2))), compression=zipfile.ZIP_BZIP2), "unusual compression",
    ),
    "a directory that promises gigabytes": (
        lambda: larger_on_paper(archive_of(("a.npy", npy(np.ones(2))))), "declares 4294967280 bytes, more",
    ),
    "a thousand members": (
        lambda: archive_of(*((f"{i}.npy", npy(np.ones(1))) for i in range(1000))), "1000 members",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", list(ARCHIVES))
def test_archive_that_lies_is_refused(lie: str) -> None:
    build, reason = ARCHIVES[lie]

    with pytest.raises(array_files.BodyFileError, match=reason) as error:
        array_files.read_npz(build(), source="model.npz")

    assert "\n" not in str(error.value)


def test_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    """600 MB of zeros in 0.6 MB, under a key that is read."""
    file = tmp_path / "model.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("posedirs.npy", "w") as member:
        member.write(header(shape_header("(75000000,)")))
        for _ in range(75):
            member.write(bytes(8_000_000))

    with refused_without_memory("more than the cap"):
        body_io.load_arrays(file)


@contextlib.contextmanager
def refused_without_memory(reason: str):
    tracemalloc.start()
    try:
        with pytest.raises(array_files.BodyFileError, match=reason) as error:
            yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_REFUSAL_BYTES
    assert "\n" not in str(error.value)


def declaring(size: int, data: bytes) -> bytes:
    """A stored archive whose directory declares more bytes for its one member than it has."""
    position = data.index(b"PK\x01\x02")
    return data[: position + 20] + struct.pack("<II", size, size) + data[position + 28 :]


#: Shape, item type: two gigabytes and more in a header of a hundred bytes.
HUGE = [
    ("(268435456,)", "'<f8'"),
    ("(6890, 3, 12000)", "'<f8'"),
    ("(21474,)", "'|S99999'"),
    ("(2147483648, 1)", "'|u1'"),
]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("shape", "descr"), HUGE)
def test_archive_whose_header_claims_gigabytes_is_refused(
    shape: str, descr: str, compression: int, tmp_path: Path
) -> None:
    file = tmp_path / "SMPL_NEUTRAL.npz"
    lie = header(shape_header(shape, descr), bytes(64))
    file.write_bytes(archive_of(("v_template.npy", lie), compression=compression))

    with refused_without_memory("declares"):
        body_io.load_arrays(file)


def test_archive_whose_directory_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "SMPL_NEUTRAL.npz"
    lie = header(shape_header("(268435440,)"), bytes(64))
    file.write_bytes(declaring(GIGABYTES, archive_of(("v_template.npy", lie))))

    with refused_without_memory("cut-off|declares"):
        body_io.load_arrays(file)


def test_archive_that_claims_more_than_its_bytes_can_unpack_to_is_refused_unopened(tmp_path: Path) -> None:
    """Directory and header agree, and are within the cap: 400 MB, of a hundred bytes that deflate made."""
    file = tmp_path / "SMPL_NEUTRAL.npz"
    lie = header(shape_header("(50000000,)"), bytes(64))
    data = archive_of(("v_template.npy", lie), compression=zipfile.ZIP_DEFLATED)
    position = data.index(b"PK\x01\x02")
    claimed = len(lie) - 64 + 400_000_000
    file.write_bytes(data[: position + 24] + struct.pack("<I", claimed) + data[position + 28 :])

    with refused_without_memory("more than the file can hold"):
        body_io.load_arrays(file)


def test_array_of_zeros_that_packs_as_small_as_can_be_is_read() -> None:
    zeros = np.zeros(4_000_000)

    assert np.array_equal(
        array_files.read_npz(archive_of(("a.npy", npy(zeros)), compression=8), source="x")["a"], zeros
    )


@pytest.mark.parametrize(("shape", "descr"), HUGE)
def test_array_file_whose_header_claims_gigabytes_is_refused(shape: str, descr: str, tmp_path: Path) -> None:
    file = tmp_path / "J_regressor_extra.npy"
    file.write_bytes(header(shape_header(shape, descr), bytes(64)))

    with refused_without_memory("declares"):
        body_io.load_matrix(file)


def test_directory_of_a_hundred_thousand_members_is_refused_unparsed(tmp_path: Path) -> None:
    """Python's reader makes an object of each, whatever it is asked for."""
    honest = archive_of(("a.npy", npy(np.ones(2))))
    start, end = honest.index(b"PK\x01\x02"), honest.index(b"PK\x05\x06")
    directory = 100_000 * honest[start:end]
    closing = bytearray(honest[end:])
    closing[12:16] = struct.pack("<I", len(directory))
    file = honest[:start] + directory + bytes(closing)

    with refused_without_memory(r"a directory of \d+ bytes"):
        array_files.read_npz(file, source="model.npz")


@pytest.mark.parametrize("attack", ["os.system", "builtins.exec", "runpy"])
def test_object_array_file_is_refused_and_runs_nothing(attack: str, tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "J_regressor_extra.npy"
    lie = header("{'descr': '|O', 'fortran_order': False, 'shape': (), }\n")
    file.write_bytes(lie + hostile_pickles.LIVE[attack](canary))

    with pytest.raises(array_files.BodyFileError, match="Python object"):
        body_io.load_matrix(file)

    assert not canary.exists()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_array_file_cut_off_is_refused(share: float) -> None:
    data = npy(np.ones((9, 30)))

    with pytest.raises(array_files.BodyFileError, match=r"damaged|declares|not a NumPy array"):
        array_files.read_npy(data[: int(share * len(data))], source="regressor.npy")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.arange(6, dtype=">i4"),
        np.array(2.5, np.float32), np.zeros((0, 3)), np.array("text"), np.array(["left", "right"], ">U5"),
        np.array([True, False]), np.array([b"ab"]),
    ],
    ids=lambda array: f"{array.dtype.str} {array.shape}",
)  # fmt: skip
def test_honest_array_is_read_as_numpy_reads_it(array: np.ndarray, compression: int) -> None:
    data = archive_of(("a.npy", npy(array)), ("other.txt", b"x" * 5), compression=compression)

    for loaded in (
        array_files.read_npz(data, source="a.npz")["a"],
        array_files.read_npz(memoryview(data), source="a.npz", keys=("a", "b"))["a"],
        array_files.read_npy(npy(array), source="a.npy"),
    ):
        np.testing.assert_array_equal(loaded, array)
        assert loaded.dtype == array.dtype.newbyteorder("=")
        assert loaded.shape == array.shape
        assert loaded.flags.aligned
        assert not loaded.flags.writeable


def test_arrays_outlive_the_memory_of_their_file() -> None:
    data = bytearray(archive_of(("a.npy", npy(np.arange(5.0)))))

    loaded = array_files.read_npz(memoryview(data), source="a.npz")["a"]
    data[:] = bytes(len(data))

    np.testing.assert_array_equal(loaded, np.arange(5.0))


def test_seal_replaces_the_checksums_of_the_archive_only_where_it_is() -> None:
    damaged = corrupted(archive_of(("a.npy", npy(np.frombuffer(b"PAYLOAD!", "f8"))), ("seal.npy", npy(np.ones(1)))))

    assert set(array_files.read_npz(damaged, source="a.npz", seal="seal")) == {"a", "seal"}
    for seal in (None, "other"):
        with pytest.raises(array_files.BodyFileError, match="wrong checksum"):
            array_files.read_npz(damaged, source="a.npz", seal=seal)


def test_header_in_python2_spelling_loads() -> None:
    data = archive_of(("a.npy", header(shape_header("(2L, 1L)"), np.ones(2).tobytes())))

    np.testing.assert_array_equal(array_files.read_npz(data, source="model.npz")["a"], np.ones((2, 1)))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutated_archive_loads_or_is_refused_but_never_crashes(compression: int) -> None:
    original = archive_of(
        ("a.npy", npy(np.arange(12.0).reshape(3, 4))), ("b.npy", npy(np.array(["x"]))), compression=compression
    )
    generator = np.random.default_rng(0)

    for _ in range(2000):
        mutant = bytearray(original)
        for position in generator.integers(0, len(mutant), generator.integers(1, 4)):
            mutant[position] = generator.integers(0, 256)
        with contextlib.suppress(array_files.BodyFileError):
            array_files.read_npz(bytes(mutant), source="model.npz", seal="a" if generator.random() < 0.5 else None)
