"""Every published way past scanners of pickles, through every function that reads one: refused, and nothing runs.

What is common to all of them stands in `tests/test_safe_pickle.py`; here are the gadgets of the advisories, the games
with the format, the archives that pickles come in, and errors that must not lead to another reader.
"""

import _pickle
import gzip
import io
import os
import pickle
import pickletools
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from hardmo_jax import safe_pickle, torch_file
from hardmo_jax.body import io as body_io
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.data.published.hmr2_npz import Hmr2Npz
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.published.three_dpw import ThreeDpw
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.networks.torch_import import CheckpointError, import_checkpoint
from hardmo_jax.perception.yolo_checkpoint import read_checkpoint
from hardmo_jax.recovery.body_correspondence import VertexMapError, load_vertex_map
from hardmo_jax.safe_pickle._machine import INSTRUCTIONS
from hardmo_jax.torch_file import TorchFile, TorchFileError
from tests.conftest import ROOT
from tests.perception import handmade_torch
from tests.reference import hostile_gadgets, hostile_pickles, hostile_streams
from tests.reference.hostile_pickles import STOP, system

REFUSALS = (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)
#: What an array of objects is allowed in published labels only.
READ_AS_OBJECTS = "an object dtype"
ATTACKS = {
    **{f"gadget: {key}": made for key, made in (hostile_gadgets.RUN | hostile_gadgets.NAMED).items()},
    **{f"stream: {key}": made for key, made in (hostile_streams.RUN | hostile_streams.TWISTED).items()},
}
EVERY = ATTACKS | {f"pickle: {key}": made for key, made in (hostile_pickles.LIVE | hostile_pickles.HOSTILE).items()}
#: One of each kind, for readers that take long.
FEW = [
    "gadget: os.popen", "gadget: functools.reduce of exec", "gadget: numpy.load of objects", "gadget: pip.main",
    "gadget: torch.storage._load_from_bytes", "gadget: webdataset.autodecode.Decoder", "stream: INST of a dotted name",
    "stream: OBJ as the first instruction", "stream: the name by STRING with escapes", "stream: then cut off",
    "stream: a memo in which MEMOIZE and BINPUT disagree", "stream: two pickles of which the first is hostile",
    "stream: BUILD with slots", "stream: BYTEARRAY8 of a gigabyte", "stream: a pickle that is also a zip",
    "stream: dicts nested a thousand deep", "pickle: a pickle inside a zip", "pickle: nothing at all",
]  # fmt: skip


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def test_there_are_more_than_enough_of_them():
    assert len(EVERY) >= 600


def check_refused(data, canary):
    for read in (safe_pickle.loads, safe_pickle.loads_with_object_arrays):
        with pytest.raises(REFUSALS, match=r"^labels\.pyd: ") as told:
            read(data, source="labels.pyd")
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 400
    assert not os.path.lexists(canary)


@pytest.mark.parametrize(
    "attack", [name for name in ATTACKS if name.split("gadget: ")[-1] not in hostile_gadgets.NAMED]
)
def test_published_attack_is_refused_and_runs_nothing(attack, canary):
    check_refused(ATTACKS[attack](canary), canary)


def test_every_name_of_an_advisory_is_refused(canary):
    for name, made in hostile_gadgets.NAMED.items():
        check_refused(made(canary), canary)
        with pytest.raises(safe_pickle.UnsafePickleError, match="could run code"):
            safe_pickle.loads(name_alone(name))


def name_alone(full):
    """By STACK_GLOBAL, which takes dots, and uncalled."""
    module, _, name = full.rpartition(".")
    return b"\x80\x04" + hostile_pickles.stack_name(module, name) + STOP


_RUN_ALL = """
import atexit, gc, os, pathlib, pickle, sys, tempfile, time
from tests.reference import hostile_gadgets, hostile_streams
dead = []
for name, made in (hostile_gadgets.RUN | hostile_streams.RUN).items():
    with tempfile.TemporaryDirectory() as folder:
        canary = pathlib.Path(folder, "canary")
        hostile_gadgets.write_companions(canary)
        child = os.fork()
        if child == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nowhere, stream)
            atexit._clear()
            try:
                value = pickle.loads(made(canary), encoding="latin1")
                del value
                gc.collect()
                atexit._run_exitfuncs()
            except BaseException:
                pass
            os._exit(0)
        os.waitpid(child, 0)
        for _ in range(200):
            if os.path.lexists(canary):
                break
            time.sleep(0.02)
        else:
            dead.append(name)
print(dead)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and calls programs of Linux")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="some of the modules are gone")
def test_attacks_are_live_under_the_reader_of_python():
    """Otherwise the refusals would prove nothing."""
    done = subprocess.run([sys.executable, "-c", _RUN_ALL], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


# ---- through the functions that users call ---------------------------------------------------------------------


def torch_archive(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def object_npz(data: bytes) -> bytes:
    """An array of objects under the name that readers of labels ask for."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("imgname.npy", header.getvalue() + data)
    return buffer.getvalue()


def label_tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("1.jpg", b"\xff\xd8\xff photo"), ("1.data.pyd", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def open_torch(path):
    with TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice="write it again", max_bytes=1 << 30) as file:
        return file.root


def import_hmr2(path):
    return import_checkpoint(path, "hmr2")


def as_it_is(data: bytes) -> bytes:
    return data


#: Reader: ending of its files, what a pickle is wrapped in, the function, its errors.
READERS = {
    "a body": (".pkl", as_it_is, body_io.read_arrays, (BodyFileError, *REFUSALS)),
    "a matrix": (".pkl", as_it_is, body_io.load_matrix, (BodyFileError, *REFUSALS)),
    "a transfer": (".pkl", as_it_is, load_vertex_map, (VertexMapError, BodyFileError, *REFUSALS)),
    "3DPW": (".pkl", as_it_is, lambda path: ThreeDpw(path, "imageFiles"), (TrainingDataError, *REFUSALS)),
    "labels in a tar": (".tar", label_tar, lambda path: Hmr2Tars(path).record(0), (TrainingDataError, *REFUSALS)),
    "labels in an npz": (".npz", object_npz, lambda path: Hmr2Npz(path, "images"), (TrainingDataError, *REFUSALS)),
    "a checkpoint": (".pt", torch_archive, open_torch, (TorchFileError,)),
    "a network": (".ckpt", torch_archive, import_hmr2, (TorchFileError, CheckpointError)),
    "YOLO": (".pt", torch_archive, read_checkpoint, (TorchFileError,)),
}  # fmt: skip


@pytest.mark.parametrize("attack", FEW)
@pytest.mark.parametrize("reader", list(READERS))
def test_attack_is_refused_by_whoever_reads_it(reader, attack, canary, tmp_path):
    ending, wrap, read, errors = READERS[reader]
    file = tmp_path / f"file{ending}"
    file.write_bytes(wrap(EVERY[attack](canary)))
    hostile_gadgets.write_companions(canary)
    told = None
    try:
        read(file)
    except errors as error:
        told = error
    # Objects of a checkpoint are described, if they are of no module of Python's.
    assert type(told).__module__.startswith("hardmo_jax.") or (told is None and reader == "a checkpoint")
    assert not os.path.lexists(canary)


def test_all_of_them_run_nothing_as_a_checkpoint(canary, tmp_path):
    """Many of these names are those of a training program, whose objects are described: nothing runs either way."""
    file, described = tmp_path / "w.pt", 0
    for made in (hostile_gadgets.NAMED | hostile_streams.RUN).values():
        file.write_bytes(torch_archive(made(canary)))
        try:
            open_torch(file)
            described += 1
        except TorchFileError:
            pass
        assert not os.path.lexists(canary)
    assert 0 < described < 200


@pytest.mark.parametrize("attack", list(hostile_gadgets.RUN))
def test_live_gadget_is_refused_as_a_checkpoint(attack, canary, tmp_path):
    """What runs with nothing but Python and NumPy is told as an attack, not described."""
    file = tmp_path / "w.pt"
    file.write_bytes(torch_archive(hostile_gadgets.RUN[attack](canary)))
    is_of_numpy = b"numpy" in hostile_gadgets.RUN[attack](canary)
    try:
        open_torch(file)
        assert is_of_numpy
    except TorchFileError:
        pass
    assert not os.path.lexists(canary)


# ---- archives --------------------------------------------------------------------------------------------------


def zip_of(*members, **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, data in members:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)  # of names that are there twice
                archive.writestr(name, data)
    return buffer.getvalue()


HONEST = pickle.dumps({"state_dict": {}}, 2)


def flagged(data: bytes, bit: int) -> bytes:
    """Archives say in two places whether members are encrypted; the directory is the second."""
    place = data.rindex(b"PK\x01\x02") + 8
    return data[:place] + bytes([data[place] | bit]) + data[place + 1 :]


def renamed_locally(data: bytes) -> bytes:
    """The name in front of the member is another than the one of the directory."""
    return data.replace(b"archive/data.pkl", b"archive/text.txt", 1)


def with_wrong_checksum(data: bytes) -> bytes:
    place = data.rindex(b"PK\x01\x02") + 16
    return data[:place] + b"\x01\x02\x03\x04" + data[place + 4 :]


def with_wrong_size(data: bytes, size: int) -> bytes:
    place = data.rindex(b"PK\x01\x02") + 20
    return data[:place] + size.to_bytes(4, "little") * 2 + data[place + 8 :]


def tar_of(data: bytes) -> bytes:
    return label_tar(data)


#: What hides a pickle from scanners of archives. Of the attack, what is written.
CARRIERS = {
    "the pickle of the second of two members of one name": lambda bad: zip_of(
        ("archive/data.pkl", HONEST), ("archive/data.pkl", bad)
    ),
    "the pickle of the first of two members of one name": lambda bad: zip_of(
        ("archive/data.pkl", bad), ("archive/data.pkl", HONEST)
    ),
    "two folders with a pickle each": lambda bad: zip_of(("a/data.pkl", HONEST), ("b/data.pkl", bad)),
    "a way out of the folder": lambda bad: zip_of(("../data.pkl", bad)),
    "an absolute name": lambda bad: zip_of(("/data.pkl", bad)),
    "a pickle in no folder": lambda bad: zip_of(("data.pkl", bad)),
    "a pickle two folders deep": lambda bad: zip_of(("a/b/data.pkl", bad)),
    "a pickle of another ending": lambda bad: zip_of(("archive/data.txt", bad)),
    "a zip within a zip": lambda bad: zip_of(("archive/data.pkl", zip_of(("archive/data.pkl", bad)))),
    "a zip that says it is encrypted": lambda bad: flagged(torch_archive(bad), 1),
    "a zip with the flag of patches": lambda bad: flagged(torch_archive(bad), 0x20),
    "a zip with the flag of strong encryption": lambda bad: flagged(torch_archive(bad), 0x40),
    "a compressed pickle": lambda bad: zip_of(("archive/data.pkl", bad), compression=zipfile.ZIP_DEFLATED),
    "a pickle compressed by bzip2": lambda bad: zip_of(("archive/data.pkl", bad), compression=zipfile.ZIP_BZIP2),
    "a pickle compressed by LZMA": lambda bad: zip_of(("archive/data.pkl", bad), compression=zipfile.ZIP_LZMA),
    "a name that differs in front of the member": lambda bad: renamed_locally(zip_of(("archive/data.pkl", bad))),
    "a wrong checksum": lambda bad: with_wrong_checksum(zip_of(("archive/data.pkl", bad))),
    "a size beyond the file": lambda bad: with_wrong_size(zip_of(("archive/data.pkl", bad)), 1 << 24),
    "a size of four gigabytes": lambda bad: with_wrong_size(zip_of(("archive/data.pkl", bad)), 0xFFFFFFFE),
    "a size that needs ZIP64 and has none": lambda bad: with_wrong_size(zip_of(("archive/data.pkl", bad)), 0xFFFFFFFF),
    "a zip behind other bytes": lambda bad: b"\x7fELF" + bytes(60) + torch_archive(bad),
    "a zip behind a pickle": lambda bad: bad + torch_archive(HONEST),
    "a zip behind an honest pickle": lambda bad: HONEST + torch_archive(bad),
    "bytes behind a zip": lambda bad: torch_archive(HONEST) + bad,
    "a bare pickle": lambda bad: bad,
    "an old file whose first pickle is the attack": lambda bad: bad + HONEST * 4,
    "an old file with another number": lambda bad: b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x1a." + bad,
    **{
        f"an old file whose pickle {place} is the attack": lambda bad, place=place: (
            OLD_NUMBER + b"".join([bad if turn == place else old for turn, old in enumerate(OLD_PICKLES, start=2)])
        )
        for place in range(2, 6)
    },
    "an old file with nothing but its number": lambda bad: OLD_NUMBER,
    "a tar": tar_of,
    "a 7z": lambda bad: b"7z\xbc\xaf\x27\x1c" + bad,
    "a gzip": lambda bad: gzip.compress(torch_archive(bad)),
    "an archive without a directory": lambda bad: torch_archive(bad)[:-60],
    "an archive of another byte order": lambda bad: zip_of(("archive/data.pkl", bad), ("archive/byteorder", "big")),
    "an archive of a long byte order": lambda bad: zip_of(("archive/data.pkl", bad), ("archive/byteorder", "x" * 99)),
}  # fmt: skip
OLD_NUMBER = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
OLD_PICKLES = [
    pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), HONEST, pickle.dumps([], 2),
]  # fmt: skip
#: Where the attack lies outside of the archive: torch reads no more of such a file.
READ_WITHOUT = {"bytes behind a zip", "a zip behind a pickle"}


@pytest.mark.parametrize("carrier", list(CARRIERS))
def test_pickle_in_a_strange_archive_runs_nothing(carrier, canary, tmp_path):
    file = tmp_path / "w.pt"
    file.write_bytes(CARRIERS[carrier](system(canary) + STOP))
    if carrier in READ_WITHOUT:
        assert open_torch(file) == {"state_dict": {}}
    else:
        with pytest.raises(TorchFileError, match=r"w\.pt") as told:
            open_torch(file)
        assert "\n" not in str(told.value)
    assert not canary.exists()


def test_pickles_beside_the_one_that_is_read_stay_unread(canary, tmp_path):
    """TorchScript keeps a second one, which torch reads and we do not."""
    file = tmp_path / "w.pt"
    bad = system(canary) + STOP
    members = (
        ("archive/data.pkl", HONEST),
        ("archive/constants.pkl", bad),
        ("archive/code/__torch__.py", b"import os"),
    )
    file.write_bytes(zip_of(*members))
    assert open_torch(file) == {"state_dict": {}}
    assert not canary.exists()


# ---- no second reader ------------------------------------------------------------------------------------------


@pytest.fixture
def no_reader_of_python(monkeypatch):
    """Whoever calls a reader of Python's or NumPy's is caught."""
    called = []

    def caught(name):
        def call(*arguments, **options):
            called.append(name)
            raise AssertionError(f"{name} was called")

        return call

    for module in (pickle, _pickle):
        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(module, name, caught(f"{module.__name__}.{name}"))
    monkeypatch.setattr(np, "load", caught("numpy.load"))
    monkeypatch.setattr(np.lib.format, "read_array", caught("numpy.lib.format.read_array"))
    if "torch" in sys.modules:
        monkeypatch.setattr(sys.modules["torch"], "load", caught("torch.load"))
    yield
    assert called == []


BENIGN = {
    protocol: pickle.dumps({"v": np.arange(3.0), "names": ["a", "b"], "n": {1: (2.5, None)}, "s": {7}}, protocol)
    for protocol in (0, 2, 4)
}


@pytest.mark.usefixtures("no_reader_of_python")
@pytest.mark.parametrize("protocol", [4, *(pytest.param(old, marks=pytest.mark.slow) for old in (0, 2))])
@pytest.mark.parametrize("reader", list(READERS))
def test_damage_at_any_instruction_leads_to_no_other_reader(reader, protocol, tmp_path):
    ending, wrap, read, errors = READERS[reader]
    data = BENIGN[protocol]
    places = [place for _, _, place in pickletools.genops(data) if place is not None]
    file = tmp_path / f"file{ending}"
    for place in places:
        for damaged in (data[:place] + b"\xff" + data[place + 1 :], data[:place]):
            file.write_bytes(wrap(damaged))
            with pytest.raises(errors):
                read(file)


@pytest.mark.usefixtures("no_reader_of_python")
@pytest.mark.parametrize(
    "error", [pickle.UnpicklingError, KeyError, MemoryError, RuntimeError, safe_pickle.UnsafePickleError]
)
def test_error_within_any_instruction_leads_to_no_other_reader(error, tmp_path, monkeypatch):
    """Libraries were found to try a looser loader when the strict one fails, which the file decides."""
    data = BENIGN[4]
    used = sorted({ord(opcode.code.encode("latin-1")) for opcode, _, _ in pickletools.genops(data)} - {ord(".")})
    file = tmp_path / "file.pkl"
    file.write_bytes(data)

    def fail(_machine):
        raise error("forced")

    for opcode in used:
        with monkeypatch.context() as patch:
            patch.setitem(INSTRUCTIONS, opcode, fail)
            for read in (safe_pickle.load, body_io.read_arrays, READERS["3DPW"][2]):
                with pytest.raises((error, *READERS["a body"][3], *READERS["3DPW"][3])):
                    read(file)


def test_honest_files_are_read_without_any_reader_of_python(no_reader_of_python, tmp_path):
    file = tmp_path / "file.pkl"
    for data in BENIGN.values():
        file.write_bytes(data)
        np.testing.assert_array_equal(safe_pickle.load(file)["v"], np.arange(3.0))
    handmade_torch.save(tmp_path / "w.pt", {"a": 1})
    assert open_torch(tmp_path / "w.pt") == {"a": 1}
