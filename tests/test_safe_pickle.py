"""Pickles that would run code, lie about sizes or exhaust the reader are refused; honest ones load equal."""

import collections
import io
import pickle
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from tests.reference import smpl_files

REFUSALS = (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)
MAX_SECONDS_A_REFUSAL = 300.0  # seconds; the slowest takes about two on one core, a hang takes for ever

# ---- an assembler of hostile pickles ------------------------------------------------------------------------

STOP = b"."
_python2 = smpl_files.Python2Pickle(2)
value = _python2.encode


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, attribute)) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def touch(canary: Path) -> bytes:
    return value(f"touch {canary}")


def write_code(canary: Path) -> bytes:
    return value(f"open({str(canary)!r}, 'w').close()")


def array_shell() -> bytes:
    return call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), value((0,)), value("b"))


def dtype(code: str = "f8", state: tuple | None = (3, "<", None, None, None, -1, -1, 0)) -> bytes:
    made = call(name("numpy", "dtype"), value(code), value(0), value(1))
    return made if state is None else made + value(state) + b"b"


def array(shape: bytes, kind: bytes, raw: bytes) -> bytes:
    return array_shell() + b"(" + value(1) + shape + kind + value(False) + raw + b"tb"


def in_dict_after_arrays(hostile: bytes) -> bytes:
    honest = value({"v_template": np.eye(3), "weights": np.ones((4, 4))})
    return b"\x80\x02" + honest + value("posedirs") + hostile + b"s" + STOP


def nested(depth: int, opening: bytes = b"(", closing: bytes = b"t") -> bytes:
    return opening * depth + closing * depth + STOP


def laughs(levels: int, width: int = 8) -> bytes:
    """Each level is a list of the level below, several times: `width ** levels` values in a few bytes."""
    out = b"]"
    for level in range(levels):
        out += b"q" + bytes([level]) + b"](" + (b"h" + bytes([level])) * width + b"e"
    return out + STOP


def zip_of(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return buffer.getvalue()


def system(canary: Path) -> bytes:
    return call(name("os", "system"), touch(canary))


def setattr_gadget(canary: Path) -> bytes:
    """BUILD on an inert instance with a state that plants a __setstate__."""
    return (
        name("chumpy.ch", "Ch")
        + b")\x81"
        + b"}"
        + value("__setstate__")
        + name("os", "system")
        + b"sb"
        + touch(canary)
        + b"b"
        + STOP
    )


#: Pickles that Python's own reader would execute, checked below to be live.
LIVE: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda c: system(c) + STOP,
    "posix.system": lambda c: call(name("posix", "system"), touch(c)) + STOP,
    "os.system by STACK_GLOBAL": lambda c: b"\x80\x04" + call(stack_name("os", "system"), touch(c)) + STOP,
    "subprocess.call": lambda c: call(name("subprocess", "call"), value(["touch", str(c)])) + STOP,
    "subprocess.getoutput": lambda c: call(name("subprocess", "getoutput"), touch(c)) + STOP,
    "builtins.eval": lambda c: call(name("builtins", "eval"), write_code(c)) + STOP,
    "builtins.exec": lambda c: call(name("builtins", "exec"), write_code(c)) + STOP,
    "eval under its Python 2 name": lambda c: call(name("__builtin__", "eval"), write_code(c)) + STOP,
    "builtins.open": lambda c: call(name("builtins", "open"), value(str(c)), value("w")) + STOP,
    "a chain of getattr": lambda c: (
        call(
            call(name("builtins", "getattr"), call(name("builtins", "__import__"), value("os")), value("system")),
            touch(c),
        )
        + STOP
    ),
    "a dotted STACK_GLOBAL name": lambda c: b"\x80\x04" + call(stack_name("shutil", "os.system"), touch(c)) + STOP,
    "operator.attrgetter": lambda c: (
        call(
            call(name("operator", "attrgetter"), value("system")),
            call(name("importlib", "import_module"), value("os")),
        )
        + touch(c) + b"\x85R" + STOP
    ),
    "operator.methodcaller": lambda c: (
        call(
            call(name("operator", "methodcaller"), value("system"), touch(c)),
            call(name("importlib", "import_module"), value("os")),
        )
        + STOP
    ),
    "functools.partial": lambda c: call(call(name("functools", "partial"), name("os", "system")), touch(c)) + STOP,
    "pkgutil.resolve_name": lambda c: (
        call(call(name("pkgutil", "resolve_name"), value("os:system")), touch(c)) + STOP
    ),
    "a method of pathlib": lambda c: (
        b"\x80\x04" + call(stack_name("pathlib", "Path.touch"), call(name("pathlib", "Path"), value(str(c)))) + STOP
    ),
    "timeit.timeit": lambda c: (
        call(name("timeit", "timeit"), write_code(c), value("pass"), name("time", "time"), value(1)) + STOP
    ),
    "a pickle inside a pickle": lambda c: (
        call(name("pickle", "loads"), b"C" + bytes([len(system(c)) + 1]) + system(c) + STOP) + STOP
    ),
    "numpy.testing runstring": lambda c: (
        call(name("numpy.testing._private.utils", "runstring"), write_code(c), value({})) + STOP
    ),
    "INST": lambda c: b"(" + touch(c) + b"ios\nsystem\n" + STOP,
    "OBJ": lambda c: b"(" + name("os", "system") + touch(c) + b"o" + STOP,
    "a call inside a dict after valid arrays": lambda c: in_dict_after_arrays(system(c)),
    "a call whose result is dropped": lambda c: system(c) + b"0" + value({"x": 1}) + STOP,
    "a call reached through the memo": lambda c: (
        name("os", "system") + b"q\x000" + b"h\x00" + touch(c) + b"\x85R" + STOP
    ),
    "a call behind a frame": lambda c: b"\x80\x04\x95" + struct.pack("<Q", len(system(c)) + 1) + system(c) + STOP,
    "a trailing second pickle": lambda c: system(c) + STOP + value({"x": 1}) + STOP,
}  # fmt: skip

#: Pickles that attack the reader itself, or rely on what surrounds it.
HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "pty.spawn": lambda c: call(name("pty", "spawn"), value(["touch", str(c)])) + STOP,
    "numpy.f2py": lambda c: call(name("numpy.f2py.crackfortran", "getlincoef"), write_code(c), value({})) + STOP,
    "numpy.load": lambda c: call(name("numpy", "load"), value(str(c)), value(None), value(True)) + STOP,
    "torch.load": lambda c: call(name("torch", "load"), value(str(c))) + STOP,
    "runpy": lambda c: call(name("runpy", "run_path"), value(str(c))) + STOP,
    "an unknown class of an allowed module": lambda c: name("numpy", "memmap") + STOP,
    "a look-alike of chumpy": lambda c: call(name("chumpyx.ch", "Ch")) + STOP,
    "a chumpy name with a dot": lambda c: b"\x80\x04" + stack_name("chumpy.ch", "os.system") + STOP,
    "a chumpy name with a line break": lambda c: b"\x80\x04" + stack_name("chumpy.ch", "Ch\nx") + STOP,
    "chumpy with arguments": lambda c: call(name("chumpy.ch", "Ch"), touch(c)) + STOP,
    "a dotted name below numpy": lambda c: (
        b"\x80\x04" + stack_name("numpy", "testing.assert_.__globals__") + system(c) + STOP
    ),
    "a global whose name is a number": lambda c: b"K\x01K\x02\x93" + STOP,
    "a global that is never used": lambda c: name("os", "system") + b"0N" + STOP,
    "a bare allowed global": lambda c: name("numpy", "ndarray") + STOP,
    "calling an array type": lambda c: call(name("numpy", "ndarray"), value((10,))) + STOP,
    "calling a result": lambda c: call(value([1]), value(1)) + STOP,
    "a persistent id": lambda c: b"Pos.system\n" + STOP,
    "a persistent id in binary": lambda c: b"\x80\x02" + touch(c) + b"Q" + STOP,
    "an EXT1 code": lambda c: b"\x80\x02\x82\x01" + STOP,
    "an EXT2 code": lambda c: b"\x80\x02\x83\x01\x00" + STOP,
    "an EXT4 code": lambda c: b"\x80\x02\x84\x01\x00\x00\x00" + STOP,
    "NEWOBJ of an object": lambda c: name("builtins", "object") + b")\x81" + STOP,
    "NEWOBJ_EX": lambda c: b"\x80\x04" + name("chumpy.ch", "Ch") + b")}\x92" + STOP,
    "an out-of-band buffer": lambda c: b"\x80\x05\x97\x98" + STOP,
    "BUILD planting a __setstate__": setattr_gadget,
    "BUILD on a dict": lambda c: b"}}b" + STOP,
    "BUILD on an array a second time": lambda c: value(np.eye(2)) + value((1, (2,))) + b"b" + STOP,
    "BUILD with a state that is no dict": lambda c: name("chumpy.ch", "Ch") + b")\x81N}\x86b" + STOP,
    "_reconstruct of another class": lambda c: (
        call(name("numpy.core.multiarray", "_reconstruct"), name("chumpy.ch", "Ch"), value((0,)), value("b")) + STOP
    ),
    "_reconstruct of a large shell": lambda c: (
        call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), value((1 << 30,)), value("b"))
        + STOP
    ),
    "copyreg with another base": lambda c: (
        call(name("copy_reg", "_reconstructor"), name("chumpy.ch", "Ch"), name("builtins", "set"), b"N") + STOP
    ),
    "an object dtype": lambda c: array(value((1,)), dtype("O8", None), b"]N" + b"a") + STOP,
    "an object dtype by state": lambda c: dtype("f8", (3, "|", None, None, None, -1, -1, 63)) + STOP,
    "a record dtype": lambda c: dtype("V8", (3, "|", None, ("a",), {"a": 1}, 8, 1, 0)) + STOP,
    "a dtype by attribute text": lambda c: dtype("f8,O", None) + STOP,
    "a list as array content": lambda c: array(value((1,)), dtype(), value([1])) + STOP,
    "a huge declared shape": lambda c: array(value((1 << 30, 1 << 30)), dtype(), value("x" * 8)) + STOP,
    "a negative shape": lambda c: array(value((-1,)), dtype(), value("x" * 8)) + STOP,
    "an empty array with a huge axis": lambda c: (
        array(b"(K\x00" + b"\x8a\x08" + b"\xff" * 7 + b"\x7ft", dtype(), value("")) + STOP
    ),
    "fewer bytes than the shape": lambda c: array(value((3,)), dtype(), value("x" * 16)) + STOP,
    "a scalar of objects": lambda c: (
        call(name("numpy.core.multiarray", "scalar"), dtype("O8", None), value(np.eye(2))) + STOP
    ),
    "a codec other than latin-1": lambda c: call(name("_codecs", "encode"), value("x"), value("rot13")) + STOP,
    "an array never filled": lambda c: array_shell() + STOP,
    "a huge integer": lambda c: b"\x8b" + struct.pack("<i", 1 << 20) + b"\x01" * (1 << 20) + STOP,
    "a huge integer in text": lambda c: b"(L" + b"9" * 100_000 + b"L\nt" + STOP,
    "a text that claims gigabytes": lambda c: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x" + STOP,
    "a memo index that claims gigabytes": lambda c: b"N" + b"r\xff\xff\xff\xffj\xfe\xff\xff\xff" + STOP,
    "billion laughs through the memo": lambda c: laughs(60),
    "billion laughs through DUP": lambda c: b"]" + b"".join(b"2\x86" for _ in range(200)) + STOP,
    "an array copied without end": lambda c: (
        value("x" * 80_000) + b"q\x000](" + array(value((10_000,)), dtype(), b"h\x00") * 500 + b"e" + STOP
    ),
    "a set copied without end": lambda c: (
        b"](" + b"".join(value(i) for i in range(3000)) + b"eq\x000]("
        + (name("builtins", "set") + b"h\x00\x85R") * 3000 + b"e" + STOP
    ),
    "a list that contains itself": lambda c: b"]q\x00h\x00a" + STOP,
    "a dict that contains itself": lambda c: b"}q\x00" + value("x") + b"h\x00s" + STOP,
    "a chumpy array that contains itself": lambda c: (
        name("chumpy.ch", "Ch") + b")\x81q\x00}" + value("x") + b"h\x00sb" + STOP
    ),
    "tuples nested a thousand deep": lambda c: nested(1000),
    "tuples nested a quarter of a million deep": lambda c: nested(250_000),
    "lists nested a hundred thousand deep": lambda c: b"]" * 100_000 + b"a" * 99_999 + STOP,
    "chumpy nested thirty thousand deep": lambda c: (
        (name("chumpy.ch", "Ch") + b")\x81}U\x01x") * 30_000 + b"N" + b"sb" * 30_000 + STOP
    ),
    "a deep tuple as a dict key": lambda c: b"}" + nested(100_000)[:-1] + b"Ns" + STOP,
    "marks without end": lambda c: b"(" * 1_500_000 + STOP,
    "instructions without end": lambda c: b"N0" * 1_500_000 + b"N" + STOP,
    "a sparse matrix that points outside": lambda c: sparse_lie(indices=np.array([7], np.int32)) + STOP,
    "a sparse matrix with wrapped pointers": lambda c: (
        sparse_lie(indptr=np.array([0, 2**63 - 1, 2**63], np.uint64)) + STOP
    ),
    "a sparse matrix of a huge shape": lambda c: sparse_lie(_shape=(1 << 30, 1 << 30)) + STOP,
    "a sparse matrix of an absurd shape": lambda c: sparse_lie(_shape=((), "x")) + STOP,
    "a chumpy selection outside its source": lambda c: (
        value(
            smpl_files.Chumpy(
                {"a": smpl_files.chumpy_array(np.eye(2)), "idxs": np.array([9]), "preferred_shape": (1,)},
                "chumpy.reordering Select",
            )
        )
        + STOP
    ),
    "nothing at all": lambda c: b"",
    "a stop alone": lambda c: STOP,
    "values left over": lambda c: b"NN" + STOP,
    "a mark left open": lambda c: b"(N" + STOP,
    "an unknown protocol": lambda c: b"\x80\x63N" + STOP,
    "an unknown instruction": lambda c: b"\x80\x02\xff" + STOP,
    "a pickle inside a zip": lambda c: zip_of(system(c) + STOP),
    "a pickle cut off": lambda c: pickle.dumps({"x": np.arange(50)}, 4)[:-20],
    "a text pickle cut off": lambda c: pickle.dumps({"x": np.arange(50)}, 0)[:-20],
    "a frame longer than the file": lambda c: b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N" + STOP,
    "an honest pickle with bytes after it": lambda c: pickle.dumps([1]) + b"\n",
}  # fmt: skip


def sparse_lie(**lies: object) -> bytes:
    honest = smpl_files.sparse_state(smpl_files.Sparse(np.diag([1.0, 0.0])))
    state = {**honest, **lies}
    return b"\x80\x02" + name("scipy.sparse.csc", "csc_matrix") + b")\x81" + value(state) + b"b"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("attack", [*LIVE, *HOSTILE])
def test_hostile_pickle_is_refused_and_runs_nothing(attack: str, canary: Path, tmp_path: Path) -> None:
    data = (LIVE | HOSTILE)[attack](canary)
    file = tmp_path / "model.pkl"
    file.write_bytes(data)
    start = time.monotonic()

    with pytest.raises(REFUSALS) as from_file:
        safe_pickle.load(file)
    with pytest.raises(REFUSALS):
        safe_pickle.loads(data)

    assert not canary.exists()
    assert time.monotonic() - start < MAX_SECONDS_A_REFUSAL
    message = str(from_file.value)
    assert message.startswith("model.pkl: ")
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("attack", list(LIVE))
def test_attack_is_live_under_the_reader_of_python(attack: str, canary: Path) -> None:
    """Otherwise the refusals above would prove nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pickle.loads(LIVE[attack](canary), encoding="latin1")
        except Exception as error:
            print(f"raised after or instead of running: {error!r}")

    assert canary.exists()


@pytest.mark.parametrize("attack", list(LIVE))
@pytest.mark.parametrize("disguise", ["list", "dict value", "after a memo", "chumpy state"])
def test_attack_in_disguise_is_refused(attack: str, disguise: str, canary: Path) -> None:
    body = LIVE[attack](canary).removeprefix(b"\x80\x04").removesuffix(STOP)
    data = {
        "list": b"](" + body + b"e" + STOP,
        "dict value": b"}" + value("x") + body + b"s" + STOP,
        "after a memo": value(np.eye(2)) + b"q\x000" + body + STOP,
        "chumpy state": name("chumpy.ch", "Ch") + b")\x81}" + value("x") + body + b"sb" + STOP,
    }[disguise]

    with pytest.raises(REFUSALS):
        safe_pickle.loads(data)

    assert not canary.exists()


# ---- honest pickles -------------------------------------------------------------------------------------------

HONEST = {
    "numbers, text and None": [0, -1, 255, 70_000, 2**31, -(2**40), 1.5, float("inf"), True, False, None, "é", b"\xff"],
    "nested containers": {"list": [1, (2, 3), []], "dict": {"x": {}}, 7: "number key", "tuple": ()},
    "sets": {"set": {1, 2}, "frozen": frozenset({"a"}), "empty": set()},
    "empty bytes": b"",
    "long text": "wörter " * 1000,
    "float arrays": [np.linspace(0, 1, 7), np.array([[1, 2], [3, 4]], np.float32), np.zeros((0, 3)), np.array(2.5)],
    "integer arrays": [np.arange(5, dtype=t) for t in ("u1", "i1", "u2", "i4", "u4", "i8", "u8")],
    "boolean and complex arrays": [np.array([True, False]), np.array([1j], np.complex64)],
    "a Fortran-ordered array": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "a transposed array": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "a big-endian array": np.arange(6, dtype=">f8"),
    "text arrays": [np.array(["left", "right_hand"]), np.array([b"ab", b"c"])],
    "NumPy scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("abc")],
    "one array twice": [np.ones(3)] * 2,
    "an ordered dict": collections.OrderedDict(b=1, a=[np.ones(2)]),
}  # fmt: skip


def assert_same(actual: object, expected: object) -> None:
    if isinstance(expected, np.ndarray | np.generic):
        assert isinstance(actual, type(expected))
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, list | tuple):
        assert type(actual) is type(expected)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert type(actual) is dict
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    else:
        assert type(actual) is type(expected)
        assert actual == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("case", list(HONEST))
def test_honest_pickle_loads_equal(case: str, protocol: int) -> None:
    assert_same(safe_pickle.loads(pickle.dumps(HONEST[case], protocol)), HONEST[case])


@pytest.mark.parametrize("protocol", [0, 2])
def test_python2_pickle_loads_equal(protocol: int) -> None:
    content = {
        "bytes as text": "caf\xe9 \\ ' \" \n \x00",
        "array": np.arange(256, dtype=np.uint8).view(">i4").reshape(4, 16),
        "fortran": np.asfortranarray(np.eye(3)[:2]),
        "list": [1, 2.5, None, True, (), {}],
    }

    assert_same(safe_pickle.loads(smpl_files.Python2Pickle(protocol).dump(content)), content)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array"])
def test_scipy_matrix_loads_as_coordinates(kind: str, protocol: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, -1.0, 0.0]])

    loaded = safe_pickle.loads(pickle.dumps({"m": getattr(sparse, kind)(dense)}, protocol))["m"]

    assert isinstance(loaded, safe_pickle.SparseMatrix)
    np.testing.assert_array_equal(loaded.to_dense(), dense)


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("layout", ["csc", "csr", "coo"])
@pytest.mark.parametrize("module", ["scipy.sparse.{}", "scipy.sparse._{}", "scipy.sparse"])
def test_sparse_matrix_of_any_scipy_loads_without_scipy(module: str, layout: str, protocol: int) -> None:
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 4.0]])
    written = smpl_files.Sparse(dense, layout, module.format(layout))

    loaded = safe_pickle.loads(smpl_files.Python2Pickle(protocol).dump(written))

    np.testing.assert_array_equal(loaded.to_dense(), dense)


def test_sparse_matrix_adds_repeated_entries() -> None:
    matrix = safe_pickle.SparseMatrix(
        rows=np.array([0, 0]), columns=np.array([1, 1]), values=np.array([2.0, 3.0]), shape=(1, 2)
    )

    np.testing.assert_array_equal(matrix.to_dense(), [[0.0, 5.0]])


def test_sparse_matrix_too_large_to_be_dense_is_refused() -> None:
    empty = np.zeros(0, np.int64)
    matrix = safe_pickle.SparseMatrix(rows=empty, columns=empty, values=np.zeros(0), shape=(1 << 20, 1 << 20))

    with pytest.raises(safe_pickle.UnsafePickleError, match="too large"):
        matrix.to_dense()


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_array_loads_as_its_array(protocol: int) -> None:
    written = smpl_files.chumpy_array(np.arange(6.0).reshape(2, 3))

    loaded = safe_pickle.loads(smpl_files.Python2Pickle(protocol).dump({"shapedirs": written}))

    np.testing.assert_array_equal(loaded["shapedirs"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_selection_loads_as_the_selected_entries(protocol: int) -> None:
    full = np.arange(24.0).reshape(2, 3, 4)

    loaded = safe_pickle.loads(smpl_files.Python2Pickle(protocol).dump(smpl_files.chumpy_selection(full, 2)))

    np.testing.assert_array_equal(loaded, full[..., :2])


@pytest.mark.parametrize("expression", ["chumpy.ch_ops add", "chumpy.reordering transpose", "chumpy.ch_ops log"])
def test_chumpy_expression_stays_unread(expression: str) -> None:
    """`log` keeps its argument under `x`, so `x` must not be taken for its value."""
    written = smpl_files.Chumpy({"x": np.ones(3), "a": np.ones(3)}, expression)

    loaded = safe_pickle.loads(smpl_files.Python2Pickle(2).dump(written))

    assert loaded == safe_pickle.UnreadChumpy(expression.replace(" ", "."))


def test_one_array_met_twice_stays_one_array() -> None:
    first, second = safe_pickle.loads(pickle.dumps([np.ones(3)] * 2))

    assert first is second


def test_arrays_are_writable_and_independent_of_the_file() -> None:
    loaded = safe_pickle.loads(pickle.dumps(np.arange(3.0), 5))

    loaded[0] = 7.0

    np.testing.assert_array_equal(loaded, [7.0, 1.0, 2.0])


# ---- caps, mutations and messages -------------------------------------------------------------------------------


def test_file_above_the_size_cap_is_refused_with_the_argument_to_raise(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(np.zeros(1000)))

    with pytest.raises(safe_pickle.UnsafePickleError, match="max_file_bytes"):
        safe_pickle.load(file, max_file_bytes=100)
    with pytest.raises(safe_pickle.UnsafePickleError, match="max_file_bytes"):
        safe_pickle.loads(file.read_bytes(), max_file_bytes=100)


def test_pickle_above_the_instruction_cap_is_refused() -> None:
    with pytest.raises(safe_pickle.UnsafePickleError, match="10 instructions"):
        safe_pickle.loads(pickle.dumps(list(range(100))), max_opcodes=10)


def test_device_is_refused() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero on this system")

    with pytest.raises(safe_pickle.UnsafePickleError, match="not a regular file"):
        safe_pickle.load("/dev/zero")


def test_folder_and_missing_path_keep_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        safe_pickle.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        safe_pickle.load(tmp_path / "none.pkl")


FOREIGN = {
    "a JPEG image": b"\xff\xd8\xff\xe0" + b"\x00" * 60,
    "a PNG image": b"\x89PNG\r\n\x1a\n" + b"\x00" * 60,
    "a zip archive": zip_of(b"x"),
    "JSON text": b'{"v_template": [1, 2]}',
    "plain text": b"Please download the model from the web page.\n",
    "an HTML or XML page": b"<!DOCTYPE html><title>Login</title>",
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    "an MP4 video": b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 40,
}


@pytest.mark.parametrize("kind", list(FOREIGN))
def test_foreign_file_is_named(kind: str) -> None:
    assert kind in (safe_pickle.foreign_format(FOREIGN[kind]) or "")
    with pytest.raises(safe_pickle.CorruptPickleError, match=kind):
        safe_pickle.loads(FOREIGN[kind])


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_honest_pickle_is_not_taken_for_a_foreign_file(protocol: int) -> None:
    assert safe_pickle.foreign_format(pickle.dumps({"x": np.eye(2)}, protocol)) is None


@pytest.mark.parametrize("text", [b'{"a": 1}', b"[]", b" [[1.5, 2]]", b"[-1]"])
def test_json_text_is_named(text: bytes) -> None:
    assert safe_pickle.foreign_format(text) == "JSON text"


def test_toml_text_is_not_taken_for_json() -> None:
    assert safe_pickle.foreign_format(b"[build-system]\nrequires = []\n") == "plain text"


def test_message_says_what_was_asked_for_and_what_to_do(tmp_path: Path, canary: Path) -> None:
    with pytest.raises(safe_pickle.UnsafePickleError, match=r"'os\.system'.*convert it to \.npz.*you trust"):
        safe_pickle.loads(system(canary) + STOP)


def seeds_of_mutations() -> dict[str, bytes]:
    model = {"v": np.arange(6.0).reshape(2, 3), "b": np.array([True]), "t": np.array(["ab"]), "s": {1}, "n": [1, None]}
    legacy = {"v": smpl_files.chumpy_selection(np.arange(8.0).reshape(2, 4), 2), "J": smpl_files.Sparse(np.eye(3))}
    return {
        **{f"protocol {p}": pickle.dumps(model, p) for p in (0, 2, 4, 5)},
        **{f"python 2 protocol {p}": smpl_files.Python2Pickle(p).dump(legacy) for p in (0, 2)},
    }


@pytest.mark.parametrize("seed_name", list(seeds_of_mutations()))
def test_mutated_pickle_loads_or_is_refused_but_never_crashes(seed_name: str) -> None:
    original = seeds_of_mutations()[seed_name]
    generator = np.random.default_rng(0)

    for _ in range(1000):
        mutant = bytearray(original)
        for position in generator.integers(0, len(mutant), generator.integers(1, 4)):
            mutant[position] = generator.integers(0, 256)
        start, count = generator.integers(0, len(mutant)), generator.integers(0, 12)
        if generator.random() < 0.3:
            del mutant[start : start + count]
        elif generator.random() < 0.3:
            mutant[start:start] = mutant[start : start + count]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                safe_pickle.loads(bytes(mutant))
        except REFUSALS:
            pass


@pytest.mark.parametrize("seed_name", list(seeds_of_mutations()))
def test_pickle_cut_anywhere_is_refused(seed_name: str) -> None:
    original = seeds_of_mutations()[seed_name]

    for length in range(len(original)):
        with pytest.raises(REFUSALS):
            safe_pickle.loads(original[:length])
