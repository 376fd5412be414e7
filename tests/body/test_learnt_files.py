"""Files of arrays and a description: what does not fit is refused in one line that says what to do."""

import hashlib
import io

import numpy as np
import pytest

from hardmo_jax.body import learnt_files


class SpoonError(ValueError):
    """A file is no spoon."""


SPOON = learnt_files.FileKind(name="a spoon", error=SpoonError, remedy="carve it again")


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_what_was_saved_comes_back_and_the_checksum_is_that_of_the_file(tmp_path):
    path = tmp_path / "deep" / "spoon.npz"
    bowl = np.arange(6, dtype=np.float32).reshape(2, 3)
    digest = learnt_files.save(path, {"bowl": bowl, "meta": learnt_files.text({"format_version": 2, "wood": "é"})})
    data = path.read_bytes()
    assert digest == hashlib.sha256(data).hexdigest()
    assert [child.name for child in path.parent.iterdir()] == ["spoon.npz"]
    np.testing.assert_array_equal(
        SPOON.read(data, lambda arrays: learnt_files.numbers(arrays, "bowl", (2, None)), source="x"), bowl
    )
    meta = SPOON.read(data, lambda arrays: learnt_files.description(arrays, 2), source="x")
    assert meta == {"format_version": 2, "wood": "é"}


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        learnt_files.save(tmp_path / "spoon.npz", {"bowl": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "array", "words"),
    [
        ((2, 3), np.zeros((2, 4)), "finite numbers of shape 2 x 3, got float64 of shape 2 x 4"),
        ((2, None), np.zeros(2), "of shape 2 x any, got float64 of shape 2"),
        ((), np.zeros(1), r"of shape \(\), got float64 of shape 1"),
        ((2,), np.zeros(2, int), "got int64 of shape 2"),
        ((2,), np.array(["a", "b"]), "got <U1"),
        ((2,), np.array([0, np.nan]), "finite"),
        ((2,), np.array([0, np.inf]), "finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(shape, array, words):
    with pytest.raises(SpoonError, match=rf"mine\.npz: not a spoon \(`bowl` must be .*{words}.*\); carve it again"):
        SPOON.read(packed(bowl=array), lambda arrays: learnt_files.numbers(arrays, "bowl", shape), source="mine.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"bowl": np.zeros(1)}, "it lacks 'meta'"),
        ({"meta": np.array("{}")}, "it lacks 'format_version'"),
        ({"meta": np.array("{")}, "Expecting"),
        ({"meta": np.array("[]")}, "list"),
        ({"meta": np.array("[" * 90_000)}, "recursion"),
        ({"meta": np.array('{"format_version": 3}')}, "format 3, this version reads 2"),
        ({"meta": np.array([object()])}, "Python object"),
    ],
)
def test_descriptions_that_are_none_are_refused(arrays, words):
    with pytest.raises(SpoonError, match=rf"mine\.npz: not a spoon .*{words}.*; carve it again"):
        SPOON.read(packed(**arrays), lambda arrays: learnt_files.description(arrays, 2), source="mine.npz")


def test_an_asset_that_is_not_there_is_named_with_what_makes_it():
    with pytest.raises(
        FileNotFoundError, match=r"lacks body/assets/spoon\.npz; reinstall hardmo_jax \(carve it again\)"
    ):
        SPOON.read_asset("body/assets/spoon.npz", lambda arrays: arrays)
