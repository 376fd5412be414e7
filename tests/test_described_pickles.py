"""Pickles of other programs' objects: strict and lenient descriptions, several in one file, and what neither allows."""

import re

import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.safe_pickle import _finishing, loads_described, loads_described_parts
from tests.reference.hostile_pickles import STOP, name, value

ASKED = {"names": re.compile(r"models\.[A-Za-z]+"), "calls": frozenset(("builtins.getattr",)), "advice": "use ONNX"}
NET, CALL = name("models", "Net"), name("builtins", "getattr")
MADE = NET + b")\x81"
BEGIN = b"\x80\x02"


def described(data, *, is_lenient):
    return loads_described(BEGIN + data + STOP, is_lenient=is_lenient, source="net.pt", **ASKED)


def strictly(data):
    return described(data, is_lenient=False)


def leniently(data):
    return described(data, is_lenient=True)


def refused(read, data, told):
    with pytest.raises(safe_pickle.UnsafePickleError, match=told) as refusal:
        read(data)
    assert str(refusal.value).startswith("net.pt: refused: ")
    assert str(refusal.value).endswith("; use ONNX")


@pytest.mark.parametrize("read", [strictly, leniently])
def test_names_calls_and_objects_are_described(read):
    assert read(NET).name == "models.Net"
    made = read(MADE)
    assert (made.name, made.arguments, made.state, made.entries) == ("models.Net", (), None, None)
    assert read(MADE + value({"age": 3}) + b"b").state == {"age": 3}
    called = read(CALL + NET + value("half") + b"\x86R")
    assert (called.name, called.arguments[1]) == ("builtins.getattr", "half")
    assert called.arguments[0].name == "models.Net"
    pointed = read(value(("storage", 7)) + b"Q")
    assert (pointed.name, pointed.arguments) == (safe_pickle.PERSISTENT_ID, (("storage", 7),))


@pytest.mark.parametrize("read", [strictly, leniently])
def test_what_is_no_object_is_read_as_ever(read):
    assert read(value({"x": [1, (2, 3)]})) == {"x": [1, (2, 3)]}
    assert read(name("builtins", "set") + value([1, 2]) + b"\x85R") == {1, 2}
    assert read(b"}" + value({"_metadata": 1}) + b"b") == {}  # attributes of an OrderedDict
    assert read(name("chumpy.ch", "Log") + b")\x81}b") == safe_pickle.UnreadChumpy("chumpy.ch.Log")


@pytest.mark.parametrize("read", [strictly, leniently])
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (name("os", "system"), "it asks for 'os.system'"),
        (name("models", "Net.__init__"), "it asks for 'models.Net.__init__'"),
        (name("models", "N" * 249), "which could run code"),
        (CALL + b"NR", "calls builtins.getattr with something that is not a tuple"),
        (MADE + b")R", "it calls a Object"),
        (MADE + b"}b}b", "sets the state of a Object"),
        (b"]}b", "sets the state of a list"),
        (NET + b"]\x81", "makes an instance of models.Net"),
        (b"N)\x81", "makes an instance of a NoneType"),
        (b"]Na" + b"K\x01Ns", "sets entries of something that is not a dict"),
        (b"}Na", "appends to something that is not a list"),
        (b"}" + value(1.5) + b"Ns", "neither text nor a whole number"),
        (b"}" + value((1.5,)) + b"Ns", "neither text nor a whole number"),
        (b"]q\x00h\x00\x85\x85b", "sets the state of a list"),
    ],
)
def test_neither_allows(read, data, told):
    refused(read, data, told)


def test_a_name_may_have_255_bytes():
    assert strictly(name("models", "N" * 248)).name == "models." + "N" * 248


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (NET + b")R", "it calls models.Net"),
        (NET + value((1,)) + b"\x81", "makes an instance of models.Net"),
        (MADE + b"Na", "appends to something that is not a list"),
        (MADE + value("k") + b"Ns", "sets entries of something that is not a dict"),
        (b"}" + NET + b"Ns", "neither text nor a whole number"),
        (b"}" + value((1, 2)) + b"Ns", "neither text nor a whole number"),
        (b"]q\x00h\x00a", "a value that contains itself"),
    ],
)
def test_strictly_these_are_refused(data, told):
    refused(strictly, data, told)


def test_leniently_they_are_described():
    assert leniently(NET + value((1, 2)) + b"R").arguments == (1, 2)
    assert leniently(NET + value((1,)) + b"\x81").arguments == (1,)
    assert leniently(MADE + b"K\x01aK\x02a").entries == [1, 2]
    assert leniently(MADE + b"(K\x01K\x02e").entries == [1, 2]
    assert leniently(MADE + b"K\x01K\x02sK\x03K\x04s").entries == {1: 2, 3: 4}
    assert leniently(b"}" + NET + b"Ns") == {"class models.Net": None}
    assert leniently(b"}" + value((1, "a")) + b"Ns") == {(1, "a"): None}
    assert leniently(b"}" + value(()) + b"Ns") == {(): None}
    (within,) = leniently(b"]q\x00h\x00a")
    assert within.name == safe_pickle.WITHIN_ITSELF
    assert leniently(MADE + b"q\x00}" + value("me") + b"h\x00sb").state["me"].name == safe_pickle.WITHIN_ITSELF


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (MADE + b"K\x01aK\x01K\x02s", "sets entries of something that is not a dict"),
        (MADE + b"K\x01K\x02sK\x01a", "appends to something that is not a list"),
        (b"}" + value((1, (2,))) + b"Ns", "neither text nor a whole number"),
        (b"}\x8a\x08" + (2**60).to_bytes(8, "little") + b"\x85Ns", "a huge number"),
        (b"N)R", "it calls a NoneType"),
    ],
)
def test_leniently_these_are_refused_still(data, told):
    refused(leniently, data, told)


@pytest.mark.parametrize(("read", "place"), [(strictly, "state"), (strictly, "arguments"), (leniently, "entries")])
def test_depth_is_counted_within_descriptions(read, place):
    def nested(levels):
        """The innermost of the objects is plain, one below the tuple of arguments."""
        if place == "state":
            return MADE * levels + b"N" + b"b" * levels
        if place == "entries":
            return MADE * levels + b"N" + b"a" * levels
        return CALL * levels + b"N" + b"\x85R" * levels

    most = 64 if place == "state" else 32  # of each object, the arguments are a value below it
    read(nested(most))
    refused(read, nested(most + 1), "nested more than 64 deep")


def test_values_are_counted_within_descriptions(monkeypatch):
    for read, data, count in (
        (strictly, NET, 1),
        (strictly, MADE + value([1, 2]) + b"b", 1 + 1 + 3 + 1),
        (strictly, CALL + value((1, 2)) + b"R", 1 + 3 + 1 + 1),
        (leniently, MADE + b"K\x01aK\x02a", 1 + 1 + 1 + 3),
        (leniently, b"]q\x00h\x00a", 2),
    ):
        monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", count)
        read(data)
        monkeypatch.setattr(_finishing, "_MAX_EXPANDED_VALUES", count - 1)
        if count > 1:
            refused(read, data, f"expands to more than {count - 1} values")


def test_pickles_that_follow_each_other_are_read_to_where_they_end():
    data = BEGIN + value({"a": 1}) + STOP + BEGIN + MADE + STOP + b"rest"
    (first, second), end = loads_described_parts(data, 2, source="net.pt", **ASKED)
    assert first == {"a": 1}
    assert second.name == "models.Net"
    assert data[end:] == b"rest"
    assert loads_described_parts(data, 0, source="net.pt", **ASKED) == ([], 0)
    with pytest.raises(safe_pickle.CorruptPickleError, match=r"net\.pt: "):
        loads_described_parts(data, 3, source="net.pt", **ASKED)
    with pytest.raises(safe_pickle.UnsafePickleError, match="bytes follow the end"):
        loads_described(data, source="net.pt", **ASKED)
    lenient = BEGIN + MADE + b"K\x01a" + STOP
    (only,), _ = loads_described_parts(lenient, 1, source="net.pt", is_lenient=True, **ASKED)
    assert only.entries == [1]
    with pytest.raises(safe_pickle.UnsafePickleError, match="not a list"):
        loads_described_parts(lenient, 1, source="net.pt", **ASKED)
    with pytest.raises(safe_pickle.UnsafePickleError, match="more than 2 instructions"):
        loads_described(BEGIN + b"NN0" + STOP, source="net.pt", max_opcodes=2, **ASKED)
