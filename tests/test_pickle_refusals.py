"""Each check of the pickle reader by itself: what it refuses, in its own words, and the nearest that it reads."""

import struct

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from tests.reference.hostile_pickles import STOP, array, array_shell, call, dtype, name, sparse_lie, value
from tests.reference.small_pickles import (
    BUFFER,
    CHUMPY,
    DICT,
    ENCODE,
    FLOATS,
    REBUILD,
    SCALAR,
    SET,
    TEXT,
    array_state,
    chumpy_select,
    coo,
    long,
    of_a_pickle,
    raw,
)

#: Each damaged or hostile in one way: what it is told.
DAMAGED = {
    "nothing": (b"", "the file is empty; download"),
    "no end": (b"N", "cut off before its end"),
    "no instruction": (b"\x80\x02\xff.", "byte 0xff at offset 2 is no instruction"),
    "a line without end": (b"I12", "cut off inside a line"),
    "a long line of digits": (b"I" + b"1" * 73 + b"\n.", "a line of 73 bytes where 72 are the most"),
    "65 digits": (b"I" + b"1" * 65 + b"\n.", "is no integer"),
    "bytes that are not there": (b"C\x05abcd", "declares 5 bytes where 4 are left"),
    "text that is no text": (b"X\x01\x00\x00\x00\xff.", "not valid utf-8"),
    "nothing to append": (b"a.", "takes a value from an empty stack"),
    "nothing to repeat": (b"2.", "looks for a value on an empty stack"),
    "no mark": (b"t.", "a mark that was never set"),
    "no mark to drop": (b"0.", "a mark that was never set"),
    "left over": (b"NN.", "values are left over at its end"),
    "an open mark": (b"(N.", "values are left over at its end"),
    "a negative place": (b"Np-1\n.", "stores at a negative memo index"),
    "an empty place": (b"h\x07.", "fetches memo entry 7, which was never stored"),
    "protocol 6": (b"\x80\x06N.", "protocol 6 is unknown"),
    "a long frame": (b"\x80\x04\x95" + struct.pack("<Q", 3) + b"N.", "declares a frame of 3 bytes, which is cut off"),
    "no number": (b"Fx\n.", "is no number"),
    "a long number": (b"F" + b"1" * 65 + b"\n.", "a line of 65 bytes where 64 are the most"),
    "no quotes": (b"Sab\n.", "not in quotes"),
    "one quote": (b"S'\n.", "not in quotes"),
    "two kinds of quotes": (b"S'a\"\n.", "not in quotes"),
    "a broken escape": (b"S'\\x1'\n.", "broken escape"),
    "a long name": (b"c" + b"a" * 257 + b"\nb\n.", "a line of 257 bytes where 256 are the most"),
    "half an entry": (b"(K\x01d.", "a key without a value"),
    "axes that repeat": (
        call(BUFFER, raw(b"x" * 16), FLOATS, value((1, 2)), value("K"), value((0, 0))) + STOP,
        "are not a permutation",
    ),
    "a truth of 2": (array(value((1,)), dtype("b1", None), raw(b"\2")) + STOP, "other values than 0 and 1"),
    "no character": (
        array(value((1,)), dtype("U1", (3, "<", None, None, None, 4, 4, 8)), raw(b"\0\0\x11\0")) + STOP,
        "holds invalid characters",
    ),
    "bytes outside latin-1": (array(value((1,)), dtype("u1", None), b"V\\u0100\n") + STOP, "outside latin-1"),
    "an unfilled array": (array_shell() + STOP, "an array was announced and never filled"),
    "an unfilled object": (CHUMPY + STOP, "a chumpy.ch.Ch was announced and never filled"),
    "no shape": (coo(_shape=None) + STOP, "a scipy.sparse.coo.coo_matrix lacks its '_shape'"),
    "numbers of text": (coo(data=array(value((2,)), TEXT, raw(b"\0\0\0a" * 2))) + STOP, "are not a list of numbers"),
    "numbers in a table": (coo(data=np.eye(2)) + STOP, "are not a list of numbers"),
    "places of floats": (coo(row=np.zeros(2)) + STOP, "the rows of a stored array are not a list of integers"),
    "places in a table": (coo(col=np.eye(2, dtype=int)) + STOP, "the columns of a stored array are not a list"),
    "three coordinates": (coo(coords=(np.zeros(2, int),) * 3) + STOP, "are not a pair"),
    "a list of coordinates": (coo(coords=[np.zeros(2, int)] * 2) + STOP, "are not a pair"),
    "more rows than columns": (coo(row=np.array([0, 1, 1])) + STOP, "differ in length"),
    "more values than places": (coo(data=np.ones(3)) + STOP, "differ in length"),
    "a row below": (coo(row=np.array([0, -1])) + STOP, "lies outside its shape"),
    "a row above": (coo(row=np.array([0, 2])) + STOP, "lies outside its shape"),
    "a column above": (coo(col=np.array([3, 0])) + STOP, "lies outside its shape"),
    "too few pointers": (sparse_lie(indptr=np.array([0, 1])) + STOP, "does not fit its shape"),
    "a first pointer of 1": (sparse_lie(indptr=np.array([1, 1, 1])) + STOP, "does not fit its shape"),
    "a pointer beyond": (sparse_lie(indptr=np.array([0, 1, 2])) + STOP, "points outside its data"),
    "a negative pointer": (sparse_lie(indptr=np.array([0, -1, 1])) + STOP, "points outside its data"),
    "pointers that go back": (sparse_lie(indptr=np.array([0, 1, 0])) + STOP, "runs backwards"),
    "a selection of another size": (chumpy_select(preferred_shape=(3,)) + STOP, "does not fit its indices"),
    "a selection below": (chumpy_select(idxs=np.array([0, -1])) + STOP, "points outside its source"),
    "a selection above": (chumpy_select(idxs=np.array([0, 4])) + STOP, "points outside its source"),
    "a selection by floats": (chumpy_select(idxs=np.zeros(2)) + STOP, "the idxs of a stored array are not a list"),
}  # fmt: skip

#: Each asks for what is never given.
UNSAFE = {
    "bytes after it": (b"N.N", "1 bytes follow the end of the pickle"),
    "a persistent id": (b"Pa\n.", "a persistent id, which an outside program would resolve"),
    "a binary persistent id": (b"NQ.", "a persistent id, which an outside program would resolve"),
    **{f"EXT 0x{c:02x}": (b"N" + bytes([c]) + b".", "an extension registry code") for c in (0x82, 0x83, 0x84)},
    "INST": (b"(ios\nsystem\n.", "an instance of a class by INST or OBJ"),
    "OBJ": (b"(No.", "an instance of a class by INST or OBJ"),
    "NEWOBJ_EX": (b"NNN\x92.", "an instance of a class by NEWOBJ_EX"),
    **{f"buffer 0x{c:02x}": (b"N" + bytes([c]) + b".", "a buffer stored outside the file") for c in (0x97, 0x98)},
    "an integer of 65 bytes": (b"\x8a\x41" + b"\1" * 65 + b".", "an integer of 65 bytes"),
    "an integer of no size": (b"\x8b" + struct.pack("<i", -1) + b".", "an integer of -1 bytes"),
    "a name of a number": (b"\x8c\x01aK\x02\x93.", "a global whose name is not text"),
    "a module of a number": (b"K\x02\x8c\x01a\x93.", "a global whose name is not text"),
    "a system": (name("os", "system") + STOP, "it asks for 'os.system', which could run code"),
    "a long name of chumpy": (name("chumpy.ch", "C" * 247) + b")\x81" + STOP, "which could run code"),
    "an append to a dict": (b"}Na.", "appends to something that is not a list"),
    "an entry of a list": (b"]K\x01Ns.", "sets entries of something that is not a dict"),
    "a member of a list": (b"](N\x90.", "adds members to something that is not a set"),
    "a call of a list": (b"])R.", "it calls a list"),
    "a call with None": (SET + b"NR.", "calls builtins.set with something that is not a tuple"),
    "a call of an array type": (name("numpy", "ndarray") + b")R.", "it calls numpy.ndarray"),
    "an instance of an array type": (name("numpy", "dtype") + b")\x81.", "makes an instance of numpy.dtype"),
    "an instance of a number": (b"K\x01)\x81.", "makes an instance of a int"),
    "an instance with arguments": (name("chumpy.ch", "Ch") + b"N\x85\x81.", "passes arguments to chumpy.ch.Ch"),
    "a state of no dict": (CHUMPY + b"]b.", "the state of chumpy.ch.Ch is not a dict"),
    "a second state": (CHUMPY + b"}b}b.", "sets the state of a Instance"),
    "a second content": (value(np.eye(2)) + value((1, (2,))) + b"b.", "sets the state of a Array"),
    "a second type": (FLOATS + value((3, "<", None, None, None, -1, -1, 0)) + b"b.", "sets the state of a DType"),
    "a key of 1.5": (b"}" + value(1.5) + b"Ns.", "neither text nor a whole number"),
    "a key of 2 ** 60": (b"}" + long(2**60) + b"Ns.", "a huge number"),
    "a key of -2 ** 60": (b"}" + long(-(2**60)) + b"Ns.", "a huge number"),
    "an array of another class": (
        call(name("numpy.core.multiarray", "_reconstruct"), name("chumpy.ch", "Ch"), value((0,)), value("b")) + STOP,
        "for something that is not a plain array",
    ),
    "an array without a class": (
        call(name("numpy.core.multiarray", "_reconstruct"), value(1), value((0,)), value("b")) + STOP,
        "for something that is not a plain array",
    ),
    "an array from nothing": (
        call(name("numpy.core.multiarray", "_reconstruct")) + STOP, "for something that is not a plain array",
    ),
    "no type": (call(name("numpy", "dtype")) + STOP, "the array type None"),
    "a type of 3": (call(name("numpy", "dtype"), value(3)) + STOP, "the array type 3"),
    "a type of objects": (dtype("O8", None) + STOP, "the array type 'O8'"),
    "a type with three options": (
        call(name("numpy", "dtype"), value("f8"), *[value(0)] * 3) + STOP, "an array type with unknown options",
    ),
    "a type with a text": (
        call(name("numpy", "dtype"), value("f8"), value(0), value("x")) + STOP, "an array type with unknown options",
    ),
    **{
        f"the type state {state}": (dtype(code, state) + STOP, told)
        for code, state, told in (
            ("f8", [3], "the state of an array type is of an unknown version"),
            ("f8", (2, "<", None, None, None, -1, -1, 0), "of an unknown version"),
            ("f8", (3, "<", None, None, None, -1, -1, 0, None), "of an unknown version"),
            ("f8", (4, "<", None, None, None, -1, -1, 0), "of an unknown version"),
            ("f8", (3, "<", (), None, None, -1, -1, 0), "a record, object or annotated array type"),
            ("f8", (3, "<", None, None, None, -1, -1, 1), "a record, object or annotated array type"),
            ("f8", (4, "<", None, None, None, -1, -1, 0, {}), "a record, object or annotated array type"),
            ("f8", (3, "|", None, None, None, -1, -1, 0), "the byte order '|' of array type f8"),
            ("f8", (3, 0, None, None, None, -1, -1, 0), "the byte order 0 of array type f8"),
            ("u1", (3, "<", None, None, None, -1, -1, 0), "the byte order '<' of array type u1"),
            ("S2", (3, "<", None, None, None, 2, 1, 0), "the byte order '<' of array type S2"),
            ("U2", (3, "|", None, None, None, 8, 4, 8), "the byte order '|' of array type U2"),
            ("f8", (3, "<", None, None, None, 8, 8, 0), "array type f8 declares 8 bytes an element"),
            ("S2", (3, "|", None, None, None, -1, 1, 0), "array type S2 declares -1 bytes an element"),
            ("U2", (3, "<", None, None, None, 2, 4, 8), "array type U2 declares 2 bytes an element"),
        )
    },
    "a number of no type": (call(SCALAR, value(1), raw(b"x" * 8)) + STOP, "not a plain number"),
    "a number of nothing": (call(SCALAR, FLOATS) + STOP, "not a plain number"),
    "a number of half its bytes": (call(SCALAR, FLOATS, raw(b"x" * 4)) + STOP, "needs 8 bytes and has 4"),
    "a buffer of three": (call(BUFFER, raw(b""), FLOATS, value((0,))) + STOP, "_frombuffer with 3 arguments"),
    "a buffer of six": (
        call(BUFFER, raw(b""), FLOATS, value((0,)), value("C"), b"N", b"N") + STOP, "_frombuffer with 6 arguments",
    ),
    "axes in a list": (
        call(BUFFER, raw(b"x" * 8), FLOATS, value((1,)), value("K"), value([0])) + STOP, "not a tuple of integers",
    ),
    "axes of text": (
        call(BUFFER, raw(b"x" * 8), FLOATS, value((1,)), value("K"), value(("a",))) + STOP, "not a tuple of integers",
    ),
    "any order without axes": (
        call(BUFFER, raw(b"x" * 8), FLOATS, value((1,)), value("K")) + STOP, "the memory order 'K' of an array",
    ),
    "order A": (call(BUFFER, raw(b"x" * 8), FLOATS, value((1,)), value("A")) + STOP, "the memory order 'A'"),
    "version 2": (array_state(value(2), value((0,)), FLOATS, value(False), raw(b"")) + STOP, "of an unknown version"),
    "four parts": (array_state(value(1), value((0,)), FLOATS, value(False)) + STOP, "of an unknown version"),
    "a state in a list": (array_shell() + value([1]) + b"b.", "the state of an array is of an unknown version"),
    "order of text": (
        array_state(value(1), value((0,)), FLOATS, value("F"), raw(b"")) + STOP, "neither true nor false",
    ),
    "no NumPy type": (array(value((0,)), value("f8"), raw(b"")) + STOP, "whose type is not a NumPy type"),
    "content of objects": (array(value((1,)), FLOATS, value([1])) + STOP, "whose content is not bytes"),
    "a byte too few": (array(value((1,)), FLOATS, raw(b"x" * 7)) + STOP, "of shape (1,) needs 8 bytes and has 7"),
    "a byte too many": (array(value((1,)), FLOATS, raw(b"x" * 9)) + STOP, "of shape (1,) needs 8 bytes and has 9"),
    "a shape that is told": (array(value((1, 1, 1, 3)), FLOATS, raw(b"")) + STOP, "of shape (1, 1, 1, 3) needs 24"),
    "a shape too long to tell": (array(value((1, 1, 1, 1, 3)), FLOATS, raw(b"")) + STOP, "of shape a tuple needs 24"),
    "a shape in a list": (array(value([0]), FLOATS, raw(b"")) + STOP, "not a short tuple of integers"),
    "33 axes": (array(value((0,) * 33), FLOATS, raw(b"")) + STOP, "not a short tuple of integers"),
    "an axis of -1": (array(value((-1,)), FLOATS, raw(b"")) + STOP, "not whole numbers from 0 on"),
    "an axis of 1.0": (array(value((1.0,)), FLOATS, raw(b"x" * 8)) + STOP, "not whole numbers from 0 on"),
    "an axis beyond 2 ** 40": (
        array(b"(" + long(2**40 + 1) + b"K\x00t", FLOATS, raw(b"")) + STOP, "the huge shape (1099511627777,"),
    "another code": (call(ENCODE, value("x"), value("utf-8")) + STOP, "for anything but latin-1 bytes"),
    "no code": (call(ENCODE, value("x")) + STOP, "for anything but latin-1 bytes"),
    "coded numbers": (call(ENCODE, value(1), value("latin1")) + STOP, "for anything but latin-1 bytes"),
    "bytes of something": (call(name("builtins", "bytes"), value(3)) + STOP, "builtins.bytes with arguments"),
    "a set of two lists": (call(SET, b"]", b"]") + STOP, "builtins.set of something that is not a list"),
    "a set of text": (call(SET, value("ab")) + STOP, "builtins.set of something that is not a list"),
    "a dict of two lists": (call(DICT, b"]", b"]") + STOP, "OrderedDict of something that is not a list;"),
    "a dict of text": (call(DICT, value("ab")) + STOP, "OrderedDict of something that is not a list;"),
    "a dict of threes": (call(DICT, value([(1, 2, 3)])) + STOP, "not a list of pairs"),
    "a dict of words": (call(DICT, value(["ab"])) + STOP, "not a list of pairs"),
    "a base of its own": (call(REBUILD, name("chumpy.ch", "Ch"), SET, b"N") + STOP, "with anything but a class"),
    "a state for object": (
        call(REBUILD, name("chumpy.ch", "Ch"), name("builtins", "object"), value(1)) + STOP,
        "with anything but a class, object and None",
    ),
    "a base that is no name": (
        call(REBUILD, name("chumpy.ch", "Ch"), value(1), b"N") + STOP, "with anything but a class, object and None",
    ),
    "a class that is no name": (
        call(REBUILD, value(1), name("builtins", "object"), b"N") + STOP, "makes an instance of a int",
    ),
    "no base": (call(REBUILD, name("chumpy.ch", "Ch")) + STOP, "with anything but a class, object and None"),
    "a list in itself": (b"]q\x00h\x00a.", "a value that contains itself"),
    "a bare name": (SET + STOP, "a bare recipe as a value"),
    "a bare type": (FLOATS + STOP, "a bare dtype as a value"),
    "a matrix of one axis": (coo(_shape=(2,)) + STOP, "coo_matrix of shape (2,)"),
    "a matrix of three axes": (coo(_shape=(2, 3, 1)) + STOP, "coo_matrix of shape (2, 3, 1)"),
}  # fmt: skip


def refusal_of(data, kind):
    """What somebody is told who reads it."""
    with pytest.raises(kind) as refusal:
        safe_pickle.loads(of_a_pickle(data), source="model.pkl")
    return str(refusal.value)


@pytest.mark.parametrize("case", list(DAMAGED))
def test_damage_is_told_as_what_it_is(case):
    data, told = DAMAGED[case]
    said = refusal_of(data, safe_pickle.CorruptPickleError)
    assert said.startswith("model.pkl: ")
    assert told in said


@pytest.mark.parametrize("case", list(UNSAFE))
def test_what_is_never_given_is_refused_by_its_name(case):
    data, told = UNSAFE[case]
    said = refusal_of(data, safe_pickle.UnsafePickleError)
    assert said.startswith("model.pkl: refused: ")
    assert told in said


#: The nearest neighbours of what is refused, and what they are.
READ = {
    "64 digits": (b"I" + b"1" * 64 + b"\n.", int("1" * 64)),
    "64 digits and a sign": (b"L-" + b"1" * 64 + b"L\n.", -int("1" * 64)),
    "64 bytes": (b"\x8a\x40" + b"\1" * 64 + b".", int.from_bytes(b"\1" * 64, "little")),
    "no bytes": (b"\x8a\x00.", 0),
    "a number of 64 digits": (b"F" + b"1" * 64 + b"\n.", float("1" * 64)),
    "the last bytes": (b"C\x02ab.", b"ab"),
    "false": (b"I00\n.", False),
    "true": (b"I01\n.", True),
    "one": (b"I1\n.", 1),
    "zero": (b"I0\n.", 0),
    "double quotes": (b'S"a\\n"\n.', "a\n"),
    "an empty text": (b"S''\n.", ""),
    "protocol 5": (b"\x80\x05N.", None),
    "a frame to the end": (b"\x80\x04\x95" + struct.pack("<Q", 2) + b"N.", None),
    "a place of its own": (b"K\x07p0\n0g0\n.", 7),
    "a place of a byte": (b"K\x07q\x010h\x01.", 7),
    "a place of four bytes": (b"K\x07r\1\0\0\x000j\1\0\0\0.", 7),
    "the next place": (b"K\x07\x94K\x08\x9400h\x01.", 8),
    "a mark that is dropped": (b"NK\x01(0\x86.", (None, 1)),
    "values behind a mark that are dropped": (b"K\x01(NN1.", 1),
    "a repeated value": (b"K\x012\x86.", (1, 1)),
    "a tuple of three": (b"K\x01K\x02K\x03\x87.", (1, 2, 3)),
    "members": (b"\x8f(K\x01K\x02\x90.", {1, 2}),
    "frozen members": (b"(K\x01K\x02\x91.", frozenset({1, 2})),
    "keys below 2 ** 60": (
        b"}" + long(2**60 - 1) + b"K\x01s" + long(1 - 2**60) + b"K\x02s.",
        {2**60 - 1: 1, 1 - 2**60: 2},
    ),
    "a set of a list": (call(SET, value([1, 2])) + STOP, {1, 2}),
    "a frozen set of a list": (call(name("builtins", "frozenset"), value([1])) + STOP, frozenset({1})),
    "a dict of pairs": (call(DICT, value([(1, 2), [3, 4]])) + STOP, {1: 2, 3: 4}),
    "empty bytes": (call(name("builtins", "bytes")) + STOP, b""),
    "latin1": (call(ENCODE, value("\xe9"), value("latin1")) + STOP, b"\xe9"),
    "latin-1": (call(ENCODE, value("\xe9"), value("latin-1")) + STOP, b"\xe9"),
    "a name of chumpy of 255 bytes": (
        name("chumpy.ch", "C" * 246) + b")\x81}b" + STOP, safe_pickle.UnreadChumpy("chumpy.ch." + "C" * 246),
    ),
    "a chumpy number": (CHUMPY + b"}" + value("x") + value(1.5) + b"sb.", np.array(1.5)),
    "a number": (call(SCALAR, FLOATS, raw(struct.pack("<d", 1.5))) + STOP, np.float64(1.5)),
    "a type of version 4": (
        array(value((1,)), dtype("f8", (4, ">", None, None, None, -1, -1, 0, None)), raw(struct.pack(">d", 1.5)))
        + STOP,
        np.array([1.5]),
    ),
    "truths": (
        array(value((2,)), dtype("b1", (3, "|", None, None, None, -1, -1, 0)), raw(b"\0\1")) + STOP,
        np.array([False, True]),
    ),
    "the last character": (array(value((1,)), TEXT, raw(b"\x00\x10\xff\xff")) + STOP, np.array(["\U0010ffff"])),
    "32 axes": (
        array(value((1,) * 31 + (2,)), dtype("u1", None), raw(b"ab")) + STOP,
        np.array([97, 98]).reshape((1,) * 31 + (2,)),
    ),
    "an axis of 2 ** 40": (array(b"(" + long(2**40) + b"K\x00t", FLOATS, raw(b"")) + STOP, np.zeros((2**40, 0))),
    "columns first": (
        array_state(value(1), value((2, 2)), dtype("u1", None), value(1), raw(b"\1\2\3\4")) + STOP,
        np.array([[1, 3], [2, 4]]),
    ),
    "a buffer by rows": (
        call(BUFFER, raw(b"\1\2\3\4"), dtype("u1", None), value((2, 2)), value("C")) + STOP, np.array([[1, 2], [3, 4]]),
    ),
    "a buffer by columns": (
        call(BUFFER, raw(b"\1\2\3\4"), dtype("u1", None), value((2, 2)), value("F")) + STOP, np.array([[1, 3], [2, 4]]),
    ),
    "a buffer whose axes are turned": (
        call(BUFFER, raw(b"\1\2\3\4\5\6"), dtype("u1", None), value((3, 2)), value("K"), value((1, 0))) + STOP,
        np.array([[1, 3, 5], [2, 4, 6]]),
    ),
    "the last entry": (chumpy_select(idxs=np.array([0, 3], np.uint8)) + STOP, np.array([1.0, 1.0])),
    "a selection of a table": (
        chumpy_select(idxs=np.array([[0, 1], [2, 3]]), preferred_shape=(4,)) + STOP, np.array([1.0, 0.0, 0.0, 1.0]),
    ),
    "a selection of nothing": (chumpy_select(idxs=np.zeros(0, int), preferred_shape=(0,)) + STOP, np.zeros(0)),
}  # fmt: skip


@pytest.mark.parametrize("case", list(READ))
def test_the_nearest_neighbours_of_what_is_refused_are_read(case):
    data, expected = READ[case]
    read = safe_pickle.loads(data)
    assert type(read) is type(expected)
    np.testing.assert_array_equal(read, expected)
    if isinstance(expected, np.ndarray):
        assert read.shape == expected.shape


def test_sparse_matrices_whose_last_places_are_used_are_read():
    read = safe_pickle.loads(coo(row=np.array([0, 1]), col=np.array([2, 0])) + STOP)
    np.testing.assert_array_equal(read.to_dense(), [[0, 0, 1], [2, 0, 0]])
    read = safe_pickle.loads(coo(row=None, col=None, coords=(np.array([1, 1]), np.array([1, 2]))) + STOP)
    np.testing.assert_array_equal(read.to_dense(), [[0, 0, 0], [0, 1, 2]])
    # More values than the pointers use: SciPy leaves room.
    read = safe_pickle.loads(
        sparse_lie(indptr=np.array([0, 1, 1]), data=np.ones(3), indices=np.array([1, 9, 9])) + STOP
    )
    np.testing.assert_array_equal(read.to_dense(), [[0, 0], [1, 0]])
    read = safe_pickle.loads(sparse_lie(indptr=np.zeros(3, int)) + STOP)
    np.testing.assert_array_equal(read.to_dense(), np.zeros((2, 2)))
    read = safe_pickle.loads(coo(row=np.zeros(0, int), col=np.zeros(0, int), data=np.zeros(0)) + STOP)
    np.testing.assert_array_equal(read.to_dense(), np.zeros((2, 3)))
