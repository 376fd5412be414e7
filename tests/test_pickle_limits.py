"""Caps of the pickle reader, on both sides: what is at one is read, what is above is refused."""

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.safe_pickle import _finishing, _machine, _tape, loads_with_object_arrays
from tests.reference.hostile_pickles import STOP, array, call, dtype, name, sparse_lie, value
from tests.reference.small_pickles import CHUMPY, DICT, ENCODE, OBJECT_STATE, SET, array_state, chumpy_select, coo, raw


def refused(data, told, read=safe_pickle.loads):
    with pytest.raises(safe_pickle.UnsafePickleError, match=told):
        read(data)


def test_stack_memo_and_containers_have_caps(monkeypatch):
    monkeypatch.setattr(_machine, "_MAX_STACK", 3)
    assert safe_pickle.loads(b"NNN00.") is None
    refused(b"NNNN000.", "more than 3 values wait on its stack")
    assert safe_pickle.loads(b"(((111N.") is None
    refused(b"((((1111N.", "more than 3 values wait on its stack")
    monkeypatch.setattr(_machine, "_MAX_MEMO", 2)
    assert safe_pickle.loads(b"Nq\x00q\x01.") is None
    refused(b"Nq\x00q\x01q\x02.", "remembers more than 2 values")
    for data, size in (
        (b"].", 1), (b"(l.", 1), (b"(t.", 1), (b"N\x85.", 1), (b"NN\x86.", 1), (b"NNN\x87.", 1),
        (b"}.", 3), (b"(d.", 3),
        (b"\x8f.", 4), (b"(\x91.", 4),
        (SET + b")R.", 4), (DICT + b")R.", 4),
        (CHUMPY + b"}b.", 4),
        (name("builtins", "bytes") + b")R.", 1),
    ):  # fmt: skip
        monkeypatch.setattr(_tape, "_MAX_CONTAINERS", size)
        safe_pickle.loads(data)
        monkeypatch.setattr(_tape, "_MAX_CONTAINERS", size - 1)
        refused(data, f"makes more than {size - 1} lists and the like")


def test_instructions_have_a_cap():
    assert safe_pickle.loads(b"NN0.", max_opcodes=4) is None
    refused(b"NN0.", "more than 3 instructions", lambda data: safe_pickle.loads(data, max_opcodes=3))


def test_a_file_at_its_cap_is_read(tmp_path):
    file = tmp_path / "model.pkl"
    file.write_bytes(b"NN0.")
    assert safe_pickle.load(file, max_file_bytes=4) is None
    refused(file, "larger than the cap of 3 bytes", lambda path: safe_pickle.load(path, max_file_bytes=3))
    assert safe_pickle.loads(b"NN0.", max_file_bytes=4) is None
    refused(b"NN0.", "4 bytes, more than the cap of 3", lambda data: safe_pickle.loads(data, max_file_bytes=3))


def test_what_is_unpacked_is_counted(monkeypatch):
    """To a byte: what is taken beyond the bytes of the file. Arrays of Python 2 come as text, which counts, too."""
    monkeypatch.setattr(_tape, "_MAX_DERIVED_FACTOR", 0)
    small = dtype("u1", None)
    for data, size in (
        (array(value((3,)), small, raw(b"abc")) + STOP, 3),
        (array(value((3,)), small, value("abc")) + STOP, 6),
        (call(ENCODE, value("abc"), value("latin1")) + STOP, 3),
        (call(SET, value([1, 2])) + STOP, 32),
        (call(DICT, value([(1, 2)])) + STOP, 16),
        (coo(row=np.zeros(2, "i1"), col=np.zeros(2, "i1"), data=np.zeros(2, "i1")) + STOP, 2 * 6 + 32),
        (
            sparse_lie(indptr=np.array([0, 1, 1], "i1"), indices=np.array([1], "i1"), data=np.ones(1, "i1")) + STOP,
            2 * 5 + 8 * (1 + 3) + 8,
        ),
        (chumpy_select(a=np.zeros(2, "i1"), idxs=np.array([0, 1], "i1")) + STOP, 2 * 4 + 16 + 2),
    ):  # fmt: skip
        monkeypatch.setattr(_tape, "_DERIVED_SLACK_BYTES", size)
        safe_pickle.loads(data)
        monkeypatch.setattr(_tape, "_DERIVED_SLACK_BYTES", size - 1)
        refused(data, "unpacks to many times its own size")


def nested(levels, opening, closing):
    return opening * levels + b"N" + closing * levels + STOP


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"]", b"a"), (b"(", b"t"), (b"}K\x01", b"s"), (b"", b"\x85")],
    ids=["list", "tuple", "dict", "tuple of one"],
)
def test_values_are_nested_up_to_64_deep(opening, closing):
    safe_pickle.loads(nested(65, opening, closing))
    refused(nested(66, opening, closing), "nested more than 64 deep")


def test_depth_is_counted_within_objects():
    def chumpy(levels):
        return (CHUMPY + b"}" + value("x")) * levels + b"N" + b"sb" * levels + STOP

    safe_pickle.loads(chumpy(65))
    refused(chumpy(66), "nested more than 64 deep")


def test_values_are_counted_with_their_containers(monkeypatch):
    for data, count in (
        (value([1, 2, 3]), 4), (value((1, (2, 3))), 5), (value({1: 2, 3: [4]}), 6), (b"\x8f(K\x01K\x02\x90", 3),
        (value([np.eye(2)]), 2), (b"]q\x00K\x01ah\x00\x86", 5), (b"(" + coo() + b"q\x00" + b"h\x00" * 4 + b"t", 6),
        (b"(" + chumpy_select() + b"q\x00" + b"h\x00" * 4 + b"t", 6),
    ):  # fmt: skip
        monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", count)
        safe_pickle.loads(data + STOP)
        monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", count - 1)
        refused(data + STOP, f"expands to more than {count - 1} values")


def object_array(shape=(2,), items=("a", None), version=1, is_fortran=False, state=OBJECT_STATE) -> bytes:
    kind = call(name("numpy", "dtype"), value("O8"), value(False), value(True)) + value(state) + b"b"
    return array_state(value(version), value(shape), kind, value(is_fortran), value(list(items))) + STOP


def test_arrays_of_objects_are_checked_as_others_are(monkeypatch):
    def read(data):
        return loads_with_object_arrays(data, source="labels.pyd")

    np.testing.assert_array_equal(read(object_array()), np.array(["a", None], object))
    np.testing.assert_array_equal(read(object_array((1, 2), is_fortran=1)), np.array([["a", None]], object))
    refused(object_array((3,)), r"of shape \(3,\) has 2 of them", read)
    refused(object_array((-2,)), "not whole numbers from 0 on", read)
    refused(object_array(version=2), "the state of an array of objects is of an unknown version", read)
    refused(object_array(is_fortran="F"), "the state of an array of objects is of an unknown version", read)
    refused(object_array(state=(3, "|", None, None, None, -1, -1, 62)), "of objects with unknown options", read)
    monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", 4)
    read(object_array())
    monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", 3)
    refused(object_array(), "expands to more than 3 values", read)


def test_a_dense_matrix_may_take_256_mib():
    """Zeros of such a size cost address space and no memory."""
    empty = np.zeros(0, np.int64)
    at = safe_pickle.SparseMatrix(rows=empty, columns=empty, values=np.zeros(0), shape=(1 << 15, 1 << 10))
    assert at.to_dense().shape == (1 << 15, 1 << 10)
    above = safe_pickle.SparseMatrix(rows=empty, columns=empty, values=np.zeros(0), shape=((1 << 15) + 1, 1 << 10))
    refused(above, r"\(32769, 1024\) is too large", lambda matrix: matrix.to_dense())


def test_an_error_quotes_little_of_the_file():
    for data in (
        b"\x80\x02c" + b"a" * 200 + b"\n" + b"b" * 200 + b"\n.",
        b"\x80\x02I" + b"x" * 60 + b"\n.",
        b"\x80\x02F" + b"x" * 60 + b"\n.",
        call(name("numpy", "dtype"), value("x" * 5000)) + STOP,
    ):
        with pytest.raises((safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)) as told:
            safe_pickle.loads(data)
        longest = max(str(told.value).replace(";", " ").split(), key=len)
        assert 40 <= len(longest.strip("'")) <= 103


@pytest.mark.parametrize("grown", [b"xxx", b"xxxx", b"x" * 5000])
def test_a_file_that_grows_after_its_size_was_asked_is_held_to_the_cap(grown, tmp_path, monkeypatch):
    file = tmp_path / "model.pkl"
    file.write_bytes(b"xxx")
    asked = type(file).stat

    def stat_and_grow(path, **options):
        found = asked(path, **options)
        file.write_bytes(grown)
        return found

    monkeypatch.setattr(type(file), "stat", stat_and_grow)
    if len(grown) == 3:
        assert safe_pickle.read_capped(file, max_file_bytes=3) == grown
    else:
        refused(file, "larger than the cap of 3 bytes", lambda path: safe_pickle.read_capped(path, max_file_bytes=3))
