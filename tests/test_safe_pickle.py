"""Pickles that would run code, lie about sizes or exhaust the reader are refused; honest ones load equal."""

import collections
import contextlib
import io
import pickle
import re
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from tests.reference import hostile_pickles, smpl_files
from tests.reference.hostile_pickles import HOSTILE, LIVE, STOP, name, value

REFUSALS = (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)
MAX_SECONDS_A_REFUSAL = 300.0  # seconds; the slowest takes about two on one core, a hang takes for ever


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


def test_a_small_file_takes_little_memory_whatever_the_cap(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(b"N.")
    tracemalloc.start()
    assert safe_pickle.read_capped(file, max_file_bytes=4 << 30) == b"N."
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


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
    "a zip archive": hostile_pickles.zip_of(b"x"),
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
        safe_pickle.loads(hostile_pickles.system(canary) + STOP)


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


def describe(data: bytes) -> object:
    names = re.compile(r"(models|torch)\.[A-Za-z]+")
    return safe_pickle.loads_described(data, names=names, calls=frozenset(("builtins.getattr",)), advice="use ONNX")


class Pointed(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return ("storage", 7) if obj is Ellipsis else None


def test_objects_of_other_programs_are_described_and_not_made() -> None:
    # GLOBAL, no arguments, NEWOBJ, a state, BUILD.
    made = b"cmodels\nNet\n)\x81}(X\x03\x00\x00\x00agecbuiltins\ngetattr\n(ctorch\nHalf\nX\x01\x00\x00\x00at\x52ub"
    net = describe(b"\x80\x02" + made + b".")
    assert isinstance(net, safe_pickle.Described)
    assert (net.name, net.arguments) == ("models.Net", ())
    called = net.state["age"]
    assert (called.name, called.arguments[0].name, called.arguments[1]) == ("builtins.getattr", "torch.Half", "a")
    file = io.BytesIO()
    Pointed(file, protocol=2).dump({"weights": Ellipsis})
    pointed = describe(file.getvalue())["weights"]  # type: ignore[index]
    assert (pointed.name, pointed.arguments) == (safe_pickle.PERSISTENT_ID, (("storage", 7),))
    with pytest.raises(safe_pickle.UnsafePickleError):
        safe_pickle.loads(file.getvalue())


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (b"cmodels\nNet\n)R.", "it calls models.Net; use ONNX"),
        (b"cmodels\nNet\nK\x01\x85\x81.", "it makes an instance of models.Net"),
        (b"cos\nsystem\n.", "it asks for 'os.system'"),
        # What getattr would give is never called.
        (b"cbuiltins\ngetattr\n(ctorch\nHalf\nX\x01\x00\x00\x00atR)R.", "it calls a Object"),
        (b"cmodels\nNet\n)\x81}b}b.", "it sets the state of a Object"),
    ],
)
def test_described_objects_cannot_be_called_or_filled_twice(program: bytes, told: str) -> None:
    with pytest.raises(safe_pickle.UnsafePickleError, match=told):
        describe(b"\x80\x02" + program)


@pytest.mark.parametrize("attack", [*LIVE, *HOSTILE])
def test_hostile_pickle_runs_nothing_when_it_is_described(attack: str, canary: Path) -> None:
    with contextlib.suppress(*REFUSALS):
        describe((LIVE | HOSTILE)[attack](canary))
    assert not canary.exists()
