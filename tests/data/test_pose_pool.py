"""Pools of poses: what was saved comes back, what is damaged is refused, and so are takes that are not for training."""

import dataclasses
import io
import json

import numpy as np
import pytest

from hardmo_jax.data import splits
from hardmo_jax.data.pose_pool import PosePool, PosePoolError, load_pose_pool
from tests.fitting import synthetic_people

HELD_OUT = [
    (style, take)
    for split in ("test", "validation")
    for style in splits.STYLES
    for take in splits.held_out_takes(split, style)
]


def make_pool(styles=("martial", "salsa", "cmu_amc/02"), takes=("01", "22", "02_07"), **changes):
    rng = np.random.default_rng(1)
    given = {
        "body_pose": rng.normal(size=(7, 22, 3)) * 0.3,
        "styles": styles,
        "takes": takes,
        "take_of": np.array([0, 0, 1, 1, 1, 2, 2], np.int32),
    }
    return PosePool(**{**given, **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.npz"
    make_pool().save(path)
    return path.read_bytes()


@pytest.fixture
def path(saved, tmp_path):
    (tmp_path / "pool.npz").write_bytes(saved)
    return tmp_path / "pool.npz"


def rewrite(path, **changes):
    """The file with other entries; None takes one away, `meta` is a mapping of changes."""
    with np.load(path) as file:
        arrays = dict(file)
    if isinstance(changes.get("meta"), dict):
        changes["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | changes["meta"]))
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def test_what_was_saved_comes_back(path):
    pool, again = make_pool(), load_pose_pool(path)
    assert (again.styles, again.takes, len(again)) == (pool.styles, pool.takes, 7)
    np.testing.assert_array_equal(again.take_of, pool.take_of)
    np.testing.assert_array_equal(again.body_pose, pool.body_pose.astype(np.float32))


def test_saving_makes_folders_and_leaves_nothing_else(tmp_path):
    make_pool().save(tmp_path / "deep" / "er" / "pool.npz")
    assert [child.name for child in (tmp_path / "deep" / "er").iterdir()] == ["pool.npz"]


def test_an_empty_pool_is_a_pool(tmp_path):
    empty = make_pool(styles=(), takes=(), body_pose=np.zeros((0, 22, 3)), take_of=np.zeros(0, np.int32))
    empty.save(tmp_path / "empty.npz")
    assert len(load_pose_pool(tmp_path / "empty.npz")) == 0


# ---- takes that are not for training ----------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "take"), HELD_OUT)
def test_held_out_takes_are_refused_when_a_pool_is_made(style, take):
    with pytest.raises(splits.SplitError, match=f"take {take} of {style} belongs to"):
        make_pool(styles=("martial", style, "deepmimic"), takes=("01", take, "run"))


@pytest.mark.parametrize(("style", "take"), HELD_OUT)
def test_held_out_takes_are_refused_when_a_file_is_read(path, style, take):
    rewrite(path, meta={"styles": ["martial", style, "deepmimic"], "takes": ["01", take, "run"]})
    with pytest.raises(PosePoolError, match=f"take {take} of {style} belongs to"):
        load_pose_pool(path)


@pytest.mark.parametrize("take", ["7", "007", "07 ", "07.bvh", "seven", ""])
def test_takes_under_another_spelling_do_not_pass(path, take):
    with pytest.raises(splits.SplitError, match="two digits"):
        make_pool(styles=("martial", "martial", "deepmimic"), takes=("01", take, "run"))
    rewrite(path, meta={"styles": ["martial", "martial", "deepmimic"], "takes": ["01", take, "run"]})
    with pytest.raises(PosePoolError, match="two digits"):
        load_pose_pool(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_poses_must_be_numbers(bad):
    with pytest.raises(ValueError, match="`body_pose` must be finite"):
        make_pool(body_pose=np.full((7, 22, 3), bad))


def test_a_held_out_take_without_a_pose_is_refused_too():
    """A pool that names it was made by something that has read it."""
    with pytest.raises(splits.SplitError):
        make_pool(styles=("martial", "salsa", "deepmimic", "martial"), takes=("01", "22", "run", "07"))


# ---- pools that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"takes": ("01", "22")},
        {"take_of": np.zeros(6, np.int32)},
        {"take_of": np.array([0, 0, 1, 1, 1, 2, 3], np.int32)},
        {"take_of": np.array([0, 0, 1, 1, 1, 2, -1], np.int32)},
        {"body_pose": np.zeros((7, 21, 3))},
        {"body_pose": np.zeros((6, 22, 3))},
        {"body_pose": np.zeros((7, 66))},
        {"take_of": np.full(7, 0.5)},
        {"take_of": np.array(["a"] * 7)},
        {"take_of": np.zeros((7, 1), np.int32)},
    ],
)
def test_pools_that_do_not_fit_themselves_are_refused(changes):
    """As in production: past the checks of shapes and types that only run in tests."""
    pool = make_pool()
    given = {field.name: getattr(pool, field.name) for field in dataclasses.fields(pool)}
    with pytest.raises(ValueError, match="take"):
        synthetic_people.unchecked(PosePool, **{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": None},
        {"meta": np.array("{")},
        {"meta": np.array("[]")},
        {"meta": np.array("[" * 100_000)},
        {"meta": {"styles": 3}},
        {"meta": {"takes": ["01", "22"]}},
        {"meta": {"styles": ["martial"], "takes": ["01"]}},
        {"body_pose": None},
        {"body_pose": np.zeros((7, 21, 3), np.float32)},
        {"body_pose": np.zeros((6, 22, 3), np.float32)},
        {"body_pose": np.full((7, 22, 3), np.nan, np.float32)},
        {"body_pose": np.array(["a"] * 7)},
        {"take_of": None},
        {"take_of": np.full(7, 3, np.int32)},
        {"take_of": np.full(7, 0.5)},
        {"take_of": np.array(["a"] * 7)},
    ],
)
def test_damaged_files_are_refused_in_words(path, changes):
    rewrite(path, **changes)
    with pytest.raises(PosePoolError, match=r"(?s)pool\.npz: not a pool of poses .*train again"):
        load_pose_pool(path)


def test_files_of_another_version_are_told_apart(path):
    rewrite(path, meta={"format_version": 99})
    with pytest.raises(PosePoolError, match="format 99, this version reads 1"):
        load_pose_pool(path)


@pytest.mark.parametrize("spoil", [lambda data: data[:-200], lambda data: b"", lambda data: b"text"])
def test_cut_off_and_foreign_files_are_refused(path, spoil):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(PosePoolError, match="not a pool of poses"):
        load_pose_pool(path)


def test_pickles_in_a_pool_are_never_opened(path):
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.array([object()]), body_pose=np.zeros((1, 22, 3)), take_of=np.zeros(1, int))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(PosePoolError):
        load_pose_pool(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such pool of poses; `python -m tools\.train`"):
        load_pose_pool(tmp_path / "pool.npz")
