"""Arrays of objects come out with plain values in them, and what `loads` refuses of the rest is refused here, too."""

import os
import pickle

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.safe_pickle import loads_with_object_arrays
from tests.reference.hostile_pickles import HOSTILE, LIVE

#: Harmless; `loads` refuses it for what is read here.
READ_HERE = "an object dtype"
REFUSALS = (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)


@pytest.mark.parametrize("attack", [*LIVE, *(name for name in HOSTILE if name != READ_HERE)])
def test_hostile_pickle_is_refused_and_runs_nothing(attack, tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(REFUSALS):
        loads_with_object_arrays((LIVE | HOSTILE)[attack](canary), source="labels.pyd")
    assert not canary.exists()


def test_array_of_nothing_is_read(tmp_path):
    assert loads_with_object_arrays(HOSTILE[READ_HERE](tmp_path), source="labels.pyd").tolist() == [None]


def array_of(*items, shape=None):
    array = np.empty(len(items), object)
    for place, item in enumerate(items):
        array[place] = item
    return array.reshape(len(items) if shape is None else shape)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_come_out_as_they_are(protocol):
    truth = {
        "losses": np.array({"reprojection_loss": np.float32(3), "nested": array_of("a", None, 2)}, object),
        "names": array_of("a.jpg", "b.jpg"),
        "square": np.asfortranarray(array_of(1, 2, 3, 4, shape=(2, 2))),
        "plain": np.arange(6.0).reshape(2, 3),
    }
    read = loads_with_object_arrays(pickle.dumps(truth, protocol), source="labels.pyd")
    assert read["losses"].shape == ()
    assert read["losses"].item()["reprojection_loss"] == 3
    assert read["losses"].item()["nested"].tolist() == ["a", None, 2]
    assert read["names"].tolist() == ["a.jpg", "b.jpg"]
    assert read["square"].tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(read["plain"], truth["plain"])


def test_one_array_in_two_places_is_read():
    array = array_of("a", [1, 2])
    read = loads_with_object_arrays(pickle.dumps([array, array]), source="labels.pyd")
    assert read[0].tolist() == read[1].tolist() == ["a", [1, 2]]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bombed",)


def test_objects_within_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(safe_pickle.UnsafePickleError, match=r"labels\.pyd: refused.*system"):
        loads_with_object_arrays(pickle.dumps(array_of(Bomb())), source="labels.pyd")
    assert not os.listdir(tmp_path)


def test_arrays_that_contain_themselves_are_refused():
    array = array_of(None)
    array[0] = array
    with pytest.raises(safe_pickle.UnsafePickleError, match="contains itself"):
        loads_with_object_arrays(pickle.dumps(array), source="labels.pyd")


def test_arrays_that_expand_without_end_are_refused():
    """Each holds the one before ten times."""
    array = array_of(*"0123456789")
    for _ in range(12):
        array = array_of(*[array] * 10)
    with pytest.raises(safe_pickle.UnsafePickleError, match="expands to more"):
        loads_with_object_arrays(pickle.dumps(array), source="labels.pyd")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"K\x02\x85", b"K\x03\x85", "has 2 of them"),
        (b"K?t", b"K>t", "unknown options"),
    ],
)
def test_arrays_that_contradict_themselves_are_refused(old, new, message):
    data = pickle.dumps(array_of("a", "b"), 2)
    assert data.count(old) == 1
    with pytest.raises(safe_pickle.UnsafePickleError, match=message):
        loads_with_object_arrays(data.replace(old, new), source="labels.pyd")
