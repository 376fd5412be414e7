"""Pickles that play with the format: instructions out of place, names put together, lengths that lie, late errors.

`RUN` act when Python's own reader is given them (also those that it refuses afterwards: what was called was called);
`TWISTED` attack whoever reads. Functions of the path of a canary, as in `hostile_pickles`.
"""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.reference.hostile_pickles import (
    STOP,
    array,
    array_shell,
    call,
    dtype,
    name,
    stack_name,
    system,
    touch,
    value,
)

PROTO = b"\x80\x04"


def short(text: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def frame(length: int) -> bytes:
    return b"\x95" + struct.pack("<Q", length)


def os_system_by(module: bytes, attribute: bytes, canary: Path) -> bytes:
    return PROTO + call(module + attribute + b"\x93", touch(canary)) + STOP


def late(ending: bytes) -> Callable[[Path], bytes]:
    """What was called is called before the ending is read."""
    return lambda canary: PROTO + system(canary) + ending


def filled(size: int) -> bytes:
    return b"X" + struct.pack("<I", size) + b"x" * size


RUN: dict[str, Callable[[Path], bytes]] = {
    # ---- errors after the deed, for scanners that stop at an error
    "then cut off": late(b""),
    "then a byte that is no instruction": late(b"\xff" + STOP),
    "then an empty stack": late(b"00" + STOP),
    "then a memo entry that is not there": late(b"h\x63" + STOP),
    "then a memo entry of text that is not there": late(b"g99\n" + STOP),
    "then invalid UTF-8": late(b"\x8c\x02\xff\xfe" + STOP),
    "then an unknown protocol": late(b"\x80\x63" + STOP),
    "then a text without quotes": late(b"Sx\n" + STOP),
    "then a number that is none": late(b"Ix\n" + STOP),
    "then a float that is none": late(b"Fx\n" + STOP),
    "then a global that is not there": late(b"cos\nno_such_name\n" + STOP),
    "then a module that is not there": late(b"cno_such_module\nx\n" + STOP),
    "then an extension code": late(b"\x82\x01" + STOP),
    "then a persistent id": late(b"Px\n" + STOP),
    "then a buffer of outside": late(b"\x97" + STOP),
    "then a frame that is cut off": late(frame(1 << 40) + b"N" + STOP),
    "then bytes that claim to be long": late(b"\x8e" + struct.pack("<Q", 1 << 60) + STOP),
    "then a call of a number": late(b"K\x01)R" + STOP),
    "then a mark too few": late(b"t" + STOP),
    "then a state for a number": late(b"K\x01}b" + STOP),
    "then an unhashable key": late(b"}]Ns" + STOP),
    "then NaN as a key and a second pickle": late(b"0}Fnan\nNs" + STOP + value(1) + STOP),
    # ---- names that are put together
    "the name by BINUNICODE": lambda c: os_system_by(value("os"), value("system"), c),
    "the name by UNICODE": lambda c: os_system_by(b"Vos\n", b"Vsystem\n", c),
    "the name by STRING": lambda c: os_system_by(b"S'os'\n", b'S"system"\n', c),
    "the name by STRING with escapes": lambda c: os_system_by(b"S'\\x6fs'\n", b"S'sys\\164em'\n", c),
    "the name by UNICODE with escapes": lambda c: os_system_by(b"V\\u006fs\n", b"Vs\\u0079stem\n", c),
    "the name by SHORT_BINSTRING": lambda c: os_system_by(b"U\x02os", b"U\x06system", c),
    "the name by BINSTRING": lambda c: os_system_by(b"T\x02\0\0\0os", b"T\x06\0\0\0system", c),
    "the name by BINUNICODE8": lambda c: os_system_by(
        b"\x8d" + struct.pack("<Q", 2) + b"os", b"\x8d" + struct.pack("<Q", 6) + b"system", c
    ),
    "the name with a memo between": lambda c: os_system_by(short("os") + b"\x94", short("system") + b"\x94", c),
    "the name from the memo by GET": lambda c: os_system_by(
        short("os") + b"p7\n0" + short("system") + b"p8\n0" + b"g7\n", b"g8\n", c
    ),
    "the name from the memo by LONG_BINGET": lambda c: os_system_by(
        short("os") + b"r\xff\xff\0\0" + b"0" + b"j\xff\xff\0\0", short("system"), c
    ),
    "a memo in which MEMOIZE and BINPUT disagree": lambda c: os_system_by(
        short("os") + b"q\x00" + short("system") + b"q\x01" + short("torch._utils") + b"\x94"
        + short("_rebuild_tensor_v2") + b"\x940000" + b"h\x00", b"h\x01", c,
    ),
    "a memo entry that is overwritten": lambda c: os_system_by(
        short("numpy") + b"q\x000" + short("os") + b"q\x000h\x00", short("system"), c
    ),
    "the name with a popped one between": lambda c: os_system_by(
        short("os") + short("collections") + b"0", short("OrderedDict") + b"0" + short("system"), c
    ),
    "the name with a mark between": lambda c: os_system_by(short("os") + b"(NNN1", short("system"), c),
    "the name by way of DUP": lambda c: os_system_by(short("os"), short("system") + b"20", c),
    "the module named through a package": lambda c: (
        PROTO + call(stack_name("importlib", "sys.modules.get"), value("os")) + b"0"
        + call(stack_name("tempfile", "_os.system"), touch(c)) + STOP
    ),
    "a dotted name in two parts": lambda c: PROTO + call(stack_name("logging", "os.system"), touch(c)) + STOP,
    "a method of a type": lambda c: (
        PROTO + call(
            stack_name("builtins", "object.__getattribute__"),
            call(name("importlib", "import_module"), value("os")), value("system"),
        )
        + touch(c) + b"\x85R" + STOP
    ),
    # ---- instructions out of place
    "the protocol stated twice": lambda c: PROTO + b"\x80\x02" + system(c) + STOP,
    "the protocol stated after the deed": lambda c: system(c) + PROTO + STOP,
    "no protocol, and instructions of the newest": lambda c: call(stack_name("os", "system"), touch(c)) + STOP,
    "protocol 0 and nothing of it": lambda c: b"\x80\x00" + call(stack_name("os", "system"), touch(c)) + STOP,
    "protocol 1": lambda c: b"\x80\x01" + system(c) + STOP,
    "protocol 2": lambda c: b"\x80\x02" + system(c) + STOP,
    "protocol 3": lambda c: b"\x80\x03" + system(c) + STOP,
    "protocol 5": lambda c: b"\x80\x05" + system(c) + STOP,
    "a frame around each instruction": lambda c: (
        b"\x80\x04" + frame(len(name("os", "system"))) + name("os", "system") + touch(c) + b"\x85R" + STOP
    ),
    "a frame of nothing": lambda c: PROTO + frame(0) + system(c) + STOP,
    "OBJ without arguments after a call": lambda c: b"(" + system(c) + b"0cbuiltins\ndict\no" + STOP,
    "OBJ as the first instruction": lambda c: b"(cos\nsystem\n" + touch(c) + b"o" + STOP,
    "INST within a list": lambda c: b"](" + b"(" + touch(c) + b"ios\nsystem\ne" + STOP,
    "INST of a dotted name": lambda c: PROTO + b"(" + touch(c) + b"ios\nsystem\n" + STOP,
    "REDUCE of a tuple made by TUPLE1": lambda c: name("os", "system") + touch(c) + b"\x85R" + STOP,
    "REDUCE within the arguments of a REDUCE": lambda c: (
        call(name("collections", "OrderedDict"), b"](" + system(c) + b"K\x01\x86e") + STOP
    ),
    "REDUCE within the key of a dict": lambda c: b"}" + system(c) + b"Ns" + STOP,
    "REDUCE within a frozenset": lambda c: PROTO + b"(" + system(c) + b"\x91" + STOP,
    "REDUCE within a set": lambda c: PROTO + b"\x8f(" + system(c) + b"\x90" + STOP,
    "REDUCE within the state of a type": lambda c: (
        call(name("numpy", "dtype"), value("f8"), value(0), value(1)) + b"(" + system(c) + b"tb" + STOP
    ),
    "REDUCE within the shape of an array": lambda c: (
        array_shell() + b"(K\x01(" + system(c) + b"t" + dtype() + value(False) + value("x" * 8) + b"tb" + STOP
    ),
    "REDUCE within a nested array of objects": lambda c: (
        array(
            value((1,)), dtype("O8", (3, "|", None, None, None, -1, -1, 63)),
            b"]" + array(
                value((1,)), dtype("O8", (3, "|", None, None, None, -1, -1, 63)), b"](" + system(c) + b"e"
            ) + b"a",
        )
        + STOP
    ),
    "POP of the only result": lambda c: system(c) + b"0N" + STOP,
    "POP_MARK of the result": lambda c: b"(" + system(c) + b"1N" + STOP,
    "an empty name that is text": lambda c: PROTO + b"(" + system(c) + b"l" + STOP,
    "deep within tuples": lambda c: b"(" * 60 + system(c) + b"t" * 60 + STOP,
    "after a megabyte of text": lambda c: filled(1 << 20) + b"0" + system(c) + STOP,
    "after ten thousand harmless instructions": lambda c: b"N0" * 10_000 + system(c) + STOP,
    "SETITEM of what was called": lambda c: b"}" + value("v_template") + system(c) + b"s" + STOP,
    "two pickles of which the first is hostile": lambda c: system(c) + STOP + value({"x": 1}) + STOP,
}  # fmt: skip

_NDARRAY = name("numpy", "ndarray")
_RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
_FROMBUFFER = name("numpy._core.numeric", "_frombuffer")
_SCALAR = name("numpy.core.multiarray", "scalar")
_HUGE_AXES = b"(\x8a\x08" + struct.pack("<q", 1 << 62) + b"K\x04t"
_CHUMPY = name("chumpy.ch", "Ch") + b")\x81"

TWISTED: dict[str, Callable[[Path], bytes]] = {
    # ---- lengths and numbers that lie
    "BINUNICODE longer than the file": lambda c: b"X\xff\xff\xff\x7fx" + STOP,
    "BINBYTES longer than the file": lambda c: b"B\xff\xff\xff\xffx" + STOP,
    "BINSTRING of a negative length": lambda c: b"T\xff\xff\xff\xffx" + STOP,
    "BINUNICODE8 of 2^64 - 1 bytes": lambda c: b"\x80\x04\x8d" + b"\xff" * 8 + STOP,
    "BYTEARRAY8 of 2^63 bytes": lambda c: b"\x80\x05\x96" + struct.pack("<Q", 1 << 63) + STOP,
    "BYTEARRAY8 of a gigabyte": lambda c: b"\x80\x05\x96" + struct.pack("<Q", 1 << 30) + STOP,
    "SHORT_BINBYTES that takes the end along": lambda c: b"C\x02" + STOP,
    "LONG4 of a negative length": lambda c: b"\x80\x02\x8b\xff\xff\xff\xff" + STOP,
    "LONG4 of two gigabytes": lambda c: b"\x80\x02\x8b\xff\xff\xff\x7f" + STOP,
    "LONG4 of a hundred bytes": lambda c: b"\x80\x02\x8b\x64\0\0\0" + b"\x01" * 100 + STOP,
    "LONG1 of 255 bytes": lambda c: b"\x80\x02\x8a\xff" + b"\x01" * 255 + STOP,
    "LONG of ten thousand digits": lambda c: b"L" + b"7" * 10_000 + b"L\n" + STOP,
    "INT of ten thousand digits": lambda c: b"I" + b"7" * 10_000 + b"\n" + STOP,
    "INT with an underscore": lambda c: b"I1_0\n" + STOP,
    "INT with blanks": lambda c: b"I 1\n" + STOP,
    "INT in base 16": lambda c: b"I0x10\n" + STOP,
    "INT of nothing": lambda c: b"I\n" + STOP,
    "FLOAT of ten thousand digits": lambda c: b"F" + b"7" * 10_000 + b"\n" + STOP,
    "FLOAT of nothing": lambda c: b"F\n" + STOP,
    "a frame of 2^64 - 1 bytes": lambda c: PROTO + frame((1 << 64) - 1) + b"N" + STOP,
    "a frame one byte too long": lambda c: PROTO + frame(3) + b"N" + STOP,
    "a frame without its length": lambda c: PROTO + b"\x95\x01",
    "PUT at a negative place": lambda c: b"Np-1\n" + STOP,
    "PUT at a place of a thousand digits": lambda c: b"Np" + b"9" * 1000 + b"\n" + STOP,
    "PUT at a place that is no number": lambda c: b"Npx\n" + STOP,
    "GET of a negative place": lambda c: b"g-1\n" + STOP,
    "LONG_BINGET of an empty memo": lambda c: b"j\xff\xff\xff\xff" + STOP,
    "PUT of an empty stack": lambda c: b"p0\n" + STOP,
    "MEMOIZE of an empty stack": lambda c: PROTO + b"\x94" + STOP,
    "protocol 6": lambda c: b"\x80\x06N" + STOP,
    "protocol 255": lambda c: b"\x80\xffN" + STOP,
    "a protocol without a number": lambda c: b"\x80",
    # ---- text
    "UNICODE with a broken escape": lambda c: b"V\\u12\n" + STOP,
    "BINUNICODE with a lone surrogate": lambda c: b"X\x03\0\0\0\xed\xa0\x80" + STOP,
    "STRING whose quotes differ": lambda c: b"S'x\"\n" + STOP,
    "STRING that ends in a backslash": lambda c: b"S'\\'\n" + STOP,
    "STRING of one quote": lambda c: b"S'\n" + STOP,
    "STRING with a broken escape": lambda c: b"S'\\x1'\n" + STOP,
    "STRING without an end": lambda c: b"S'" + b"x" * 100,
    "GLOBAL without a second line": lambda c: b"cos\nsystem",
    "GLOBAL with a name of a kilobyte": lambda c: b"c" + b"n" * 1024 + b"\nx\n" + STOP,
    "GLOBAL of an empty name": lambda c: b"c\n\n" + STOP,
    "GLOBAL of invalid UTF-8": lambda c: b"c\xff\n\xff\n" + STOP,
    "GLOBAL of an allowed module with a blank": lambda c: b"cnumpy \nndarray\n" + STOP,
    "GLOBAL of an allowed name with a carriage return": lambda c: b"cnumpy\r\nndarray\r\n" + STOP,
    "GLOBAL in letters that look alike": lambda c: "cnumpy\nndаrray\n".encode() + STOP,
    "GLOBAL in letters that are folded": lambda c: "cnumpy\nｎdarray\n".encode() + STOP,
    "GLOBAL of another case": lambda c: b"cNumPy\nndarray\n" + STOP,
    "STACK_GLOBAL of a list": lambda c: PROTO + b"]" + value("x") + b"\x93" + STOP,
    "STACK_GLOBAL of bytes": lambda c: PROTO + b"C\x02osC\x06system\x93" + STOP,
    "STACK_GLOBAL of an empty stack": lambda c: PROTO + b"\x93" + STOP,
    "STACK_GLOBAL over a mark": lambda c: PROTO + short("os") + b"(" + short("system") + b"\x93" + STOP,
    # ---- containers
    "APPEND to a dict": lambda c: b"}Na" + STOP,
    "APPENDS to a tuple": lambda c: b")(Ne" + STOP,
    "APPENDS to text": lambda c: value("x") + b"(Ne" + STOP,
    "APPENDS to an array": lambda c: value(np.eye(2)) + b"(Ne" + STOP,
    "SETITEM of a list": lambda c: b"]NNs" + STOP,
    "SETITEMS of an odd number": lambda c: b"}(NNNu" + STOP,
    "SETITEMS of an array": lambda c: value(np.eye(2)) + b"(K\x00K\x01u" + STOP,
    "DICT of an odd number": lambda c: b"(NNNd" + STOP,
    "ADDITEMS to a list": lambda c: PROTO + b"](N\x90" + STOP,
    "ADDITEMS to a frozenset": lambda c: PROTO + b"(N\x91(N\x90" + STOP,
    "a list as a key": lambda c: b"}]Ns" + STOP,
    "an array as a key": lambda c: b"}" + value(np.eye(2)) + b"Ns" + STOP,
    "NaN as a key": lambda c: b"}Fnan\nNs" + STOP,
    "a list in a frozenset": lambda c: PROTO + b"(]\x91" + STOP,
    "a key whose hash is that of others": lambda c: b"}\x8a\x08" + struct.pack("<q", (1 << 61) - 1) + b"Ns" + STOP,
    "a tuple that contains itself by a list": lambda c: b"]q\x00(h\x00\x85a" + STOP,
    "a dict in its own list": lambda c: b"}q\x00]h\x00a" + value("x") + b"Ns" + STOP,
    "TUPLE2 of one value": lambda c: b"N\x86" + STOP,
    "TUPLE over no mark": lambda c: b"Nt" + STOP,
    "POP of nothing": lambda c: b"0" + STOP,
    "DUP of nothing": lambda c: b"2" + STOP,
    "STOP within a mark": lambda c: b"N(" + STOP,
    "dicts nested a thousand deep": lambda c: (b"}" + value("x")) * 1000 + b"N" + b"s" * 1000 + STOP,
    "lists nested by the memo": lambda c: b"]q\x00" + b"".join(b"]q\x01h\x00a0h\x01q\x00" for _ in range(90)) + STOP,
    "tuples doubled sixty times": lambda c: b")" + b"2\x86" * 60 + STOP,
    "dicts doubled sixty times": lambda c: (
        b"}" + b"".join(b"q\x00}" + value("a") + b"h\x00s" + value("b") + b"h\x00s" for _ in range(60)) + STOP
    ),
    "two million sets": lambda c: PROTO + b"]" + (b"(" + b"\x8f" * 900_000 + b"e") * 2 + STOP,
    # ---- allowed names with hostile arguments
    "a type of a list": lambda c: call(name("numpy", "dtype"), value(["f8"])) + STOP,
    "a type of a dict": lambda c: call(name("numpy", "dtype"), value({"names": ["a"], "formats": ["O"]})) + STOP,
    "a type of a name": lambda c: call(name("numpy", "dtype"), _NDARRAY) + STOP,
    "a type of nothing": lambda c: call(name("numpy", "dtype")) + STOP,
    "a type with four arguments": lambda c: (
        call(name("numpy", "dtype"), value("f8"), value(0), value(1), value({"metadata": 1})) + STOP
    ),
    "a type of a million letters": lambda c: array(value((1,)), dtype("U1000000", None), value("x" * 8)) + STOP,
    "a type with a shape of its own": lambda c: dtype("f8", (3, "<", (1, (2,)), None, None, -1, -1, 0)) + STOP,
    "a type with metadata": lambda c: dtype("f8", (4, "<", None, None, None, -1, -1, 0, {"x": 1})) + STOP,
    "a type in the byte order of nobody": lambda c: dtype("f8", (3, "!", None, None, None, -1, -1, 0)) + STOP,
    "a type of another size": lambda c: dtype("f8", (3, "<", None, None, None, 1, -1, 0)) + STOP,
    "a type of text of another size": lambda c: dtype("U2", (3, "<", None, None, None, 800, 4, 8)) + STOP,
    "the state of a type twice": lambda c: dtype() + value((3, "<", None, None, None, -1, -1, 0)) + b"b" + STOP,
    "the state of a type of version 9": lambda c: dtype("f8", (9, "<", None, None, None, -1, -1, 0)) + STOP,
    "datetimes as a type": lambda c: array(value((1,)), dtype("M8", None), value("x" * 8)) + STOP,
    "long doubles as a type": lambda c: array(value((1,)), dtype("f16", None), value("x" * 16)) + STOP,
    "_reconstruct with three wrong arguments": lambda c: call(_RECONSTRUCT, value(1), value(2), value(3)) + STOP,
    "_reconstruct for objects": lambda c: call(_RECONSTRUCT, _NDARRAY, value((0,)), value("O")) + STOP,
    "_reconstruct with arguments too many": lambda c: (
        call(_RECONSTRUCT, _NDARRAY, value((0,)), value("b"), value(1)) + STOP
    ),
    "_frombuffer of objects": lambda c: (
        call(_FROMBUFFER, value("x" * 8), dtype("O8", None), value((1,)), value("C")) + STOP
    ),
    "_frombuffer of nothing": lambda c: call(_FROMBUFFER) + STOP,
    "_frombuffer in an unknown order": lambda c: (
        call(_FROMBUFFER, value("x" * 8), dtype(), value((1,)), value("X")) + STOP
    ),
    "_frombuffer of a list": lambda c: call(_FROMBUFFER, value([1]), dtype(), value((1,)), value("C")) + STOP,
    "_frombuffer with axes that are none": lambda c: (
        call(_FROMBUFFER, value("x" * 8), dtype(), value((1,)), value("K"), value((5,))) + STOP
    ),
    "scalar of a long text": lambda c: call(_SCALAR, dtype("f8"), value("x" * 9)) + STOP,
    "scalar of nothing": lambda c: call(_SCALAR) + STOP,
    "encode of a number": lambda c: call(name("_codecs", "encode"), value(1), value("latin1")) + STOP,
    "encode with a third argument": lambda c: (
        call(name("_codecs", "encode"), value("x"), value("latin1"), value("x")) + STOP
    ),
    "encode by zip": lambda c: call(name("_codecs", "encode"), value("x"), value("zip")) + STOP,
    "encode of what latin-1 lacks": lambda c: (
        call(name("_codecs", "encode"), "X\x03\0\0\0€".encode(), value("latin1")) + STOP
    ),
    "bytes of a huge number": lambda c: call(name("builtins", "bytes"), b"\x8a\x06" + bytes(5) + b"\x01") + STOP,
    "set of a text": lambda c: call(name("builtins", "set"), value("abc")) + STOP,
    "set of a list of lists": lambda c: call(name("builtins", "set"), value([[1]])) + STOP,
    "OrderedDict of triples": lambda c: call(name("collections", "OrderedDict"), value([(1, 2, 3)])) + STOP,
    "object called": lambda c: call(name("builtins", "object")) + STOP,
    "_reconstructor of two arguments": lambda c: (
        call(name("copyreg", "_reconstructor"), name("chumpy.ch", "Ch"), name("builtins", "object")) + STOP
    ),
    "_reconstructor of an array": lambda c: (
        call(name("copyreg", "_reconstructor"), _NDARRAY, name("builtins", "object"), b"N") + STOP
    ),
    "a sparse matrix called with arguments": lambda c: (
        call(name("scipy.sparse.csc", "csc_matrix"), value((9, 9))) + STOP
    ),
    "a sparse matrix without a state": lambda c: name("scipy.sparse.csr", "csr_matrix") + b")\x81" + STOP,
    "a sparse matrix within a sparse matrix": lambda c: (
        name("scipy.sparse.csr", "csr_matrix") + b")\x81}" + value("data")
        + name("scipy.sparse.csr", "csr_matrix") + b")\x81}bsb" + STOP
    ),
    # ---- states
    "BUILD of a list": lambda c: b"]}b" + STOP,
    "BUILD of text": lambda c: value("x") + b"}b" + STOP,
    "BUILD of an empty stack": lambda c: b"Nb" + STOP,
    "BUILD of a name": lambda c: name("chumpy.ch", "Ch") + b"}b" + STOP,
    "BUILD with slots": lambda c: _CHUMPY + b"N}" + value("__class__") + b"Ns\x86b" + STOP,
    "BUILD of an instance twice": lambda c: _CHUMPY + b"}b}b" + STOP,
    "BUILD of an array with four values": lambda c: array_shell() + value((1, (1,), 1, 0)) + b"b" + STOP,
    "BUILD of an array with a dict": lambda c: array_shell() + b"}b" + STOP,
    "BUILD of an array of nested shapes": lambda c: array(value(((1,),)), dtype(), value("x" * 8)) + STOP,
    "BUILD of an array of forty axes": lambda c: array(value((1,) * 40), dtype(), value("x" * 8)) + STOP,
    "BUILD of an array whose axes overflow": lambda c: array(_HUGE_AXES, dtype(), value("")) + STOP,
    "BUILD of an array whose shape is true": lambda c: array(b"\x88\x85", dtype(), value("x" * 8)) + STOP,
    "BUILD of an array of true that is two": lambda c: array(value((1,)), dtype("b1", None), value("\x02")) + STOP,
    "BUILD of an array of characters beyond all": lambda c: (
        array(value((1,)), dtype("U1", None), value("\xff" * 4)) + STOP
    ),
    "NEWOBJ of an array": lambda c: _NDARRAY + value((1 << 30,)) + b"\x85\x81" + STOP,
    "NEWOBJ of a number": lambda c: b"K\x01)\x81" + STOP,
    "NEWOBJ with a list": lambda c: name("chumpy.ch", "Ch") + b"]\x81" + STOP,
    "NEWOBJ_EX of an allowed name": lambda c: PROTO + _NDARRAY + b")}\x92" + STOP,
    "OBJ of an allowed name": lambda c: b"(" + _NDARRAY + b"o" + STOP,
    "INST of an allowed name": lambda c: b"(ichumpy.ch\nCh\n" + STOP,
    "EXT1 of nothing": lambda c: PROTO + b"\x82\x00" + STOP,
    "EXT4 of a negative code": lambda c: PROTO + b"\x84\xff\xff\xff\xff" + STOP,
    "BINPERSID of a tuple": lambda c: PROTO + value(("storage", 1)) + b"Q" + STOP,
    "READONLY_BUFFER of bytes": lambda c: b"\x80\x05C\x01x\x98" + STOP,
    # ---- other things under the name of a pickle
    "a pickle behind a byte order mark": lambda c: b"\xef\xbb\xbf" + value(1) + STOP,
    "a pickle behind blanks": lambda c: b"  " + value(1) + STOP,
    "a pickle in gzip": lambda c: gzip.compress(value(1) + STOP),
    "a pickle in a 7z": lambda c: b"7z\xbc\xaf\x27\x1c" + value(1) + STOP,
    "a pickle in bzip2": lambda c: bz2.compress(value(1) + STOP),
    "a pickle in xz": lambda c: lzma.compress(value(1) + STOP),
    "a pickle that is also a zip": lambda c: value(1) + STOP + b"PK\x05\x06" + b"\0" * 18,
    "a pickle that is also a script": lambda c: b"#!/bin/sh\n" + value(1) + STOP,
    "a thousand pickles": lambda c: (value(1) + STOP) * 1000,
    "nothing but zeros": lambda c: b"\0" * 1000,
    "every byte once": lambda c: bytes(range(256)),
}  # fmt: skip
