"""Pickles that would run code, lie about sizes or exhaust a reader, assembled opcode by opcode.

Each is a function of the path of a canary: a file that appears if the pickle gets its way.
"""

import codecs
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.reference import smpl_files

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


def python_code(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def write_code(canary: Path) -> bytes:
    return value(python_code(canary))


def rot13(text: str) -> bytes:
    return value(codecs.encode(text, "rot13"))


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
    "runpy": lambda c: call(name("runpy", "_run_code"), write_code(c), value({})) + STOP,
    "code in rot13": lambda c: (
        call(name("builtins", "exec"), call(name("codecs", "decode"), rot13(python_code(c)), value("rot13"))) + STOP
    ),
    "a name in rot13": lambda c: (
        b"\x80\x04"
        + call(
            call(stack_name("codecs", "decode"), rot13("os"), value("rot13")) + value("system") + b"\x93", touch(c)
        )
        + STOP
    ),
    "a name put together from the memo": lambda c: (
        b"\x80\x04" + value("os") + b"q\x000" + value("system") + b"q\x010"
        + call(b"h\x00h\x01\x93", touch(c)) + STOP
    ),
    "copyreg with a class that opens files": lambda c: (
        call(
            name("copy_reg", "_reconstructor"),
            name("logging", "FileHandler"), name("logging", "FileHandler"), value(str(c)),
        )
        + STOP
    ),
    "BUILD planting a function in a module": lambda c: (
        name("os", "path") + b"}" + value("planted") + name("os", "system") + b"sb0"
        + call(name("os.path", "planted"), touch(c)) + STOP
    ),
    "an object array with a call in it": lambda c: (
        array(value((1,)), dtype("O8", (3, "|", None, None, None, -1, -1, 63)), b"](" + system(c) + b"e") + STOP
    ),
    "an ndarray subclass that makes files": lambda c: (
        call(name("numpy", "memmap"), value(str(c)), value("u1"), value("w+"), value(0), value((10,))) + STOP
    ),
    "a method of ndarray": lambda c: (
        b"\x80\x04" + call(stack_name("numpy", "ndarray.tofile"), value(np.eye(2)), value(str(c))) + STOP
    ),
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
