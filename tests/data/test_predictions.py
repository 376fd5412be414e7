"""Prediction files of strangers: what is read, what is refused, and with which words."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.data import predictions
from hardmo_jax.data.predictions import PredictionError

IDS = np.array(["s/0", "s/1", "s/2"])


def points(rng, count=3, num_points=24):
    return rng.normal(size=(count, num_points, 3))


def test_npz_of_points_is_read(tmp_path, rng):
    truth = points(rng)
    np.savez(tmp_path / "p.npz", ids=IDS, layout="smpl24", keypoints_3d=truth)
    found = predictions.read_predictions(tmp_path / "p.npz")
    assert found.ids == tuple(IDS)
    assert found.layout == "smpl24"
    np.testing.assert_array_equal(found.keypoints_3d, truth)
    assert found.keypoints_2d is None


def test_parquet_gives_what_the_same_npz_gives(tmp_path, rng):
    truth = points(rng)
    table = pa.table({"ids": IDS.tolist(), "keypoints_3d": [row.ravel().tolist() for row in truth]})
    pq.write_table(table.replace_schema_metadata({"layout": "smpl24"}), tmp_path / "p.parquet")
    found = predictions.read_predictions(tmp_path / "p.parquet")
    np.testing.assert_array_equal(found.keypoints_3d, truth)
    assert found.layout == "smpl24"


def test_absent_lists_of_parquet_are_nan_not_dropped(tmp_path, rng):
    lists = [row.ravel().tolist() for row in points(rng)]
    table = pa.table({"ids": IDS.tolist(), "layout": ["smpl24"] * 3, "keypoints_3d": [lists[0], None, lists[2]]})
    pq.write_table(table, tmp_path / "p.parquet")
    found = predictions.read_predictions(tmp_path / "p.parquet")
    assert np.isnan(found.keypoints_3d[1]).all()
    assert np.isfinite(found.keypoints_3d[[0, 2]]).all()


def test_parameters_of_smpl_lose_their_hand_joints_and_keep_the_body(tmp_path, rng):
    pose = rng.normal(size=(3, 69))
    np.savez(
        tmp_path / "p.npz", ids=IDS, betas=np.zeros((3, 10)), global_orient=np.zeros((3, 3)), body_pose=pose,
        transl=np.ones((3, 3)),
    )  # fmt: skip
    found = predictions.read_predictions(tmp_path / "p.npz")
    np.testing.assert_array_equal(found.params["body_pose"].reshape(3, 63), pose[:, :63])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids": IDS}, "neither `keypoints_3d`"),
        ({"keypoints_3d": np.zeros((3, 24, 3)), "layout": np.array("smpl24")}, "no `ids`"),
        ({"ids": IDS, "keypoints_3d": np.zeros((3, 24, 3))}, "needs `layout`"),
        ({"ids": IDS, "keypoints_3d": np.zeros((3, 24, 3)), "layout": np.array("smpl42")}, "did you mean 'smpl24'"),
        ({"ids": IDS, "keypoints_3d": np.zeros((3, 25, 3)), "layout": np.array("smpl24")}, r"must have the shape \(3,"),
        ({"ids": IDS, "keypoints_3d": np.zeros((2, 24, 3)), "layout": np.array("smpl24")}, r"must have the shape \(3,"),
        ({"ids": np.arange(3), "keypoints_3d": np.zeros((3, 24, 3)), "layout": np.array("smpl24")}, "list of texts"),
        ({"ids": IDS[:0], "keypoints_3d": np.zeros((0, 24, 3)), "layout": np.array("smpl24")}, "no predictions"),
        ({"ids": IDS, "body_pose": np.zeros((3, 63))}, "without betas, global_orient, transl"),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path, arrays, words):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(PredictionError, match=words):
        predictions.read_predictions(tmp_path / "p.npz")


def test_pickled_arrays_are_refused_and_nothing_is_run(tmp_path):
    np.savez(tmp_path / "p.npz", ids=IDS, keypoints_3d=np.array([{}, {}, {}], object), allow_pickle=True)
    with pytest.raises(PredictionError, match="Python object"):
        predictions.read_predictions(tmp_path / "p.npz")


def test_a_file_that_is_cut_off_and_a_file_of_another_kind_are_refused(tmp_path, rng):
    np.savez(tmp_path / "p.npz", ids=IDS, layout="smpl24", keypoints_3d=points(rng))
    whole = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PredictionError):
        predictions.read_predictions(tmp_path / "cut.npz")
    (tmp_path / "p.parquet").write_bytes(whole)
    with pytest.raises(PredictionError, match="no Parquet file"):
        predictions.read_predictions(tmp_path / "p.parquet")
    (tmp_path / "p.csv").write_text("ids")
    with pytest.raises(PredictionError, match=r"npz or \.parquet"):
        predictions.read_predictions(tmp_path / "p.csv")
    with pytest.raises(FileNotFoundError):
        predictions.read_predictions(tmp_path / "absent.npz")


def of_ids(*ids):
    return predictions.Predictions(source="p.npz", ids=ids)


def test_ids_are_matched_and_mismatches_named():
    np.testing.assert_array_equal(of_ids("c", "a").rows_for(("a", "b", "c")), [1, -1, 0])
    with pytest.raises(PredictionError, match=r"1 of 2 ids are not in the set, such as 'x'; ids look like 'a'"):
        of_ids("a", "x").rows_for(("a", "b"))
    with pytest.raises(PredictionError, match="'a' is predicted twice"):
        of_ids("a", "a").rows_for(("a", "b"))
    with pytest.raises(PredictionError, match="no predictions"):
        of_ids().rows_for(("a", "b"))


def test_millimetres_and_a_mix_of_units_are_refused(rng):
    truth = points(rng, count=4)
    there = np.ones(truth.shape[:2], bool)
    predictions.check_units(1.7 * truth, truth, there, "p.npz")
    predictions.check_units(0 * truth, truth, there, "p.npz")  # a collapsed body is wrong, not in another unit
    with pytest.raises(PredictionError, match=r"1e\+03 times as large as in truth \(all of them\); millimetres"):
        predictions.check_units(1000 * truth, truth, there, "p.npz")
    mixed = truth.copy()
    mixed[1] *= 1000
    with pytest.raises(PredictionError, match="1 of 4 people, so units are mixed"):
        predictions.check_units(mixed, truth, there, "p.npz")


def test_missing_people_do_not_hide_a_wrong_unit(rng):
    truth = points(rng, count=4)
    predicted = 1000 * truth
    predicted[2:] = np.nan
    with pytest.raises(PredictionError, match="millimetres"):
        predictions.check_units(predicted, truth, np.ones(truth.shape[:2], bool), "p.npz")
