"""Prediction files of strangers: what is read, what is refused, and with which words."""

import resource
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.data import prediction_columns, predictions
from hardmo_jax.data.predictions import PredictionError

IDS = np.array(["s/0", "s/1", "s/2"])


def points(rng, count=3, num_points=24):
    return rng.normal(size=(count, num_points, 3))


def points_of(**changes):
    return {"ids": IDS, "layout": np.array("smpl24"), "keypoints_3d": np.zeros((3, 24, 3))} | changes


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


def params_of(count=3, **changes):
    arrays = {
        "ids": IDS[:count], "body": np.array("open_body/smplh"), "betas": np.zeros((count, 10)),
        "global_orient": np.zeros((count, 3)), "body_pose": np.full((count, 63), 0.1), "transl": np.ones((count, 3)),
    }  # fmt: skip
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def saved(folder, arrays):
    np.savez(folder / "p.npz", **arrays)
    return folder / "p.npz"


def read_params(folder, **changes):
    return predictions.read_predictions(saved(folder, params_of(**changes)))


def test_parameters_of_smpl_with_hands_at_rest_lose_only_these(tmp_path, rng):
    pose = rng.normal(size=(3, 23, 3))
    pose[:, 21:] = 1e-7
    pose[2] = np.nan  # failed
    for given in (pose, pose.reshape(3, 69)):
        found = read_params(tmp_path, body_pose=given)
        np.testing.assert_array_equal(found.params["body_pose"], pose[:, :21])
    pose[1, 22, 0] = 0.01
    with pytest.raises(PredictionError, match=r"turned in 1 of 3 rows; hands cannot be carried"):
        read_params(tmp_path, body_pose=pose)
    pose[1, 22, 0] = np.nan  # unknown hands of a known body
    with pytest.raises(PredictionError, match="hands cannot be carried"):
        read_params(tmp_path, body_pose=pose)


def test_parameters_say_of_which_body_they_are(tmp_path):
    found = read_params(tmp_path)
    assert found.body == "open_body/smplh"
    assert found.check_body("open_body/smplh") is found
    with pytest.raises(PredictionError, match="'open_body/smplh', the truth is of 'smplh/smplh'"):
        found.check_body("smplh/smplh")
    with pytest.raises(PredictionError, match=r"need `body`.*write the text 'open_body/smplh'"):
        read_params(tmp_path, body=None)
    with pytest.raises(PredictionError, match="need `body`"):
        predictions.Predictions(source="fit", ids=("a",), params=found.params).check_body("open_body/smplh")
    assert of_ids("a").check_body("open_body/smplh") == of_ids("a")


def test_the_smpl_view_of_a_body_passes_with_fingers_at_rest(tmp_path):
    smpl = {"body": np.array("open_body/smpl")}
    read_params(tmp_path, **smpl).check_body("open_body/smplh")
    read_params(tmp_path, **smpl, left_hand_pose=np.zeros((3, 45))).check_body("open_body/smplh")
    with pytest.raises(PredictionError, match="turns fingers"):
        read_params(tmp_path, **smpl, left_hand_pose=np.full((3, 45), 0.1)).check_body("open_body/smplh")
    with pytest.raises(PredictionError, match="the truth is of 'smplh/smplh'"):
        read_params(tmp_path, **smpl).check_body("smplh/smplh")


def test_betas_are_those_of_the_body_or_have_zeros_behind(tmp_path, rng):
    betas = rng.normal(size=(3, 16))
    betas[:, 10:] = 0
    betas[1] = np.nan
    found = read_params(tmp_path, betas=betas)
    np.testing.assert_array_equal(found.check_body("open_body/smplh").params["betas"], betas[:, :10])
    assert found.params["betas"].shape == (3, 16)
    assert found.check_body("open_body/smplh", num_betas=16) is found
    betas[2, 15] = 0.1
    for wrong in (betas, np.zeros((3, 9)), np.zeros((3, 0))):
        with pytest.raises(PredictionError, match=rf"`betas` has {wrong.shape[1]} numbers a sample.*has 10"):
            read_params(tmp_path, betas=wrong).check_body("open_body/smplh")
    with pytest.raises(PredictionError, match="`betas` must have the shape"):
        read_params(tmp_path, betas=np.zeros(3))


def test_rotations_in_degrees_are_refused_and_a_wild_one_is_not(tmp_path, rng):
    pose = rng.normal(scale=0.5, size=(3, 21, 3))
    with pytest.raises(PredictionError, match="radians"):
        read_params(tmp_path, body_pose=np.degrees(pose))
    pose[1, :3] = 100.0  # 3 of 63 are under 5 %
    pose[2] = np.nan
    pose[2, 0] = np.inf
    with pytest.raises(PredictionError, match="radians"):
        read_params(tmp_path, body_pose=pose)
    pose[1, 1:3] = 0.1
    read_params(tmp_path, body_pose=pose)
    read_params(tmp_path, body_pose=np.full((3, 63), np.nan))


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
        (params_of(body_pose=np.zeros((0, 63))), "there are no predictions: `body_pose` has no rows"),
        (params_of(body_pose=np.float64(1)), r"`body_pose` must have the shape \(3, 21, 3\)"),
        (params_of(body_pose=np.zeros((3, 3, 21))), "`body_pose` must have the shape"),
        (params_of(body_pose=np.full((3, 63), "a")), "must be numbers"),
        (params_of(body=np.array(3)), "`body` must be a text"),
        (params_of(body=np.array(["a/smplh", "b/smplh", "b/smplh"])), "must be one for all rows, got 'a/smplh' and"),
        (points_of(keypoints_3d=np.zeros((3, 3, 24))), "must have the shape"),
        (points_of(layout=np.array(24)), "`layout` must be a text"),
        (points_of(layout=np.array("x" * 501)), "more than 500 characters"),
        (points_of(ids=np.array(["a", "b", "x" * 501])), "more than 500 characters"),
        (points_of(ids=np.array([b"a", b"b", b"\xff"])), "no UTF-8"),
        (points_of(ids=np.array("a")), "list of texts"),
        ({"names": IDS}, "no `ids`; it holds names"),
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


def test_only_some_samples_of_a_set_are_wanted():
    known = ("a", "b", "c")
    np.testing.assert_array_equal(of_ids("c", "a").rows_for(("b", "c"), known), [-1, 0])
    np.testing.assert_array_equal(of_ids("c", "a").rows_for(("b",), known=known), [-1])
    assert of_ids("c").rows_for((), known).shape == (0,)
    with pytest.raises(PredictionError, match=r"1 of 2 ids are not in the set, such as 'x'; ids look like 'b'"):
        of_ids("a", "x").rows_for(("b",), known)
    with pytest.raises(PredictionError, match="'a' is predicted twice"):
        of_ids("a", "a").rows_for(("b",), known)
    with pytest.raises(PredictionError, match=r"such as 'x'$"):
        of_ids("x").rows_for(())


def test_many_ids_take_no_time():
    ids = tuple(f"s/{index}" for index in range(200_000))
    begin = time.process_time()
    with pytest.raises(PredictionError, match="'s/199999' is predicted twice"):
        of_ids(*ids, ids[-1]).rows_for(ids)
    assert time.process_time() - begin < 5  # quadratic would be minutes


# Parquet --------------------------------------------------------------------------------------------------


def parquet_of(folder, columns, **options):
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), folder / "p.parquet", **options)
    return predictions.read_predictions(folder / "p.parquet")


def columns_of(truth, **changes):
    flat = [row.ravel().tolist() for row in truth]
    return {"ids": IDS.tolist(), "layout": ["smpl24"] * 3, "keypoints_3d": flat} | changes


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed", "nested", "nested_fixed", "float32", "float16"])
def test_every_way_to_write_lists_is_read(tmp_path, rng, kind):
    truth = points(rng).astype(np.float16).astype(np.float64)
    rows = [row if "nested" in kind else row.ravel() for row in truth]
    rows = [row.tolist() for row in rows]
    types = {
        "list": pa.list_(pa.float64()), "large_list": pa.large_list(pa.float64()), "fixed": pa.list_(pa.float64(), 72),
        "nested": pa.list_(pa.list_(pa.float64())), "nested_fixed": pa.list_(pa.list_(pa.float32(), 3), 24),
        "float32": pa.list_(pa.float32()), "float16": pa.list_(pa.float16()),
    }  # fmt: skip
    for failed in (None, 1):
        given = [None if index == failed else row for index, row in enumerate(rows)]
        found = parquet_of(tmp_path, columns_of(truth, keypoints_3d=pa.array(given, types[kind])))
        expected = truth.copy()
        if failed is not None:
            expected[failed] = np.nan
        np.testing.assert_array_equal(found.keypoints_3d, expected)
    found = parquet_of(tmp_path, columns_of(truth, keypoints_3d=pa.array([rows[0], rows[1], rows[2]], types[kind])))
    np.testing.assert_array_equal(found.keypoints_3d, truth)


def test_absent_points_and_numbers_inside_lists_are_nan(tmp_path, rng):
    truth = points(rng)
    rows = [row.tolist() for row in truth]
    rows[0][3], rows[2][5][1] = None, None
    found = parquet_of(tmp_path, columns_of(truth, keypoints_3d=rows))
    truth[0, 3], truth[2, 5, 1] = np.nan, np.nan
    np.testing.assert_array_equal(found.keypoints_3d, truth)


def test_many_rows_of_parquet_keep_their_order(tmp_path, rng):
    ids = [f"s/{index}" for index in range(5000)]
    truth = rng.normal(size=(5000, 72))
    columns = {"ids": ids, "keypoints_3d": truth.tolist(), "layout": pa.array(["smpl24"] * 5000).dictionary_encode()}
    found = parquet_of(tmp_path, columns, row_group_size=1700)
    assert found.ids == tuple(ids)
    np.testing.assert_array_equal(found.keypoints_3d.reshape(5000, 72), truth)


def test_parameters_are_read_from_parquet_with_metadata(tmp_path):
    columns = {name: array.tolist() for name, array in params_of(body=None).items()}
    found = parquet_of(tmp_path, pa.table(columns).replace_schema_metadata({"body": "open_body/smpl"}))
    assert found.body == "open_body/smpl"
    assert found.params["body_pose"].shape == (3, 21, 3)
    with pytest.raises(PredictionError, match="need `body`"):
        parquet_of(tmp_path, columns)


def test_other_columns_are_not_decoded(tmp_path, rng, monkeypatch):
    truth = points(rng)
    others = {"note": ["x" * 600, None, ""], "hypotheses": [[{"a": [1, 2]}], [], None], "ids.more": [1, 2, 3]}
    decoded = []
    whole = prediction_columns._chunks
    monkeypatch.setattr(prediction_columns, "_chunks", lambda *given: decoded.append(whole(*given)) or decoded[0])
    found = parquet_of(tmp_path, columns_of(truth, **others))
    np.testing.assert_array_equal(found.keypoints_3d, truth)
    assert set(decoded[0]) == {"ids", "layout", "keypoints_3d"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ["a", None, "c"]}, "`ids` of row 1 is absent"),
        ({"ids": pa.array([None] * 3, pa.string())}, "`ids` of row 0 is absent"),
        ({"ids": [1, 2, 3]}, "`ids` must be texts, got int64"),
        ({"ids": [b"a", b"b", b"c"]}, "`ids` must be texts, got binary"),
        ({"ids": ["a", "b", "x" * 501]}, "more than 500 characters"),
        ({"layout": ["smpl24", "smpl24", "openpose67"]}, "must be one for all rows"),
        ({"layout": [24, 24, 24]}, "`layout` must be texts"),
        ({"keypoints_3d": [["a"], ["b"], ["c"]]}, r"`keypoints_3d` must hold a list of numbers for each row, got list"),
        ({"keypoints_3d": [[True], [True], [True]]}, "must hold a list of numbers"),
        ({"keypoints_3d": [1.0, 2.0, 3.0]}, "must hold a list of numbers for each row, got double"),
        ({"keypoints_3d": ["a", "b", "c"]}, "must hold a list of numbers for each row, got string"),
        ({"keypoints_3d": [[[[[1.0]]]]] * 3}, "must hold a list of numbers"),
        ({"keypoints_3d": [[1.0], [1.0, 2.0], None]}, r"lists of different lengths \(1, 2\)"),
        ({"keypoints_3d": [[[1.0, 2.0, 3.0], [1.0]], None, None]}, r"lists of different lengths \(1, 3\)"),
        ({"keypoints_3d": [np.zeros((3, 24)).tolist()] * 3}, "must have the shape"),
        ({"keypoints_3d": [None] * 3}, "must hold a list of numbers"),
        ({"keypoints_3d": pa.array([None] * 3, pa.list_(pa.float64()))}, r"must have the shape \(3, 24, 3\)"),
        ({"keypoints_3d": [[]] * 3}, r"must have the shape \(3, 24, 3\)"),
        ({"keypoints_3d": [[0.0] * 1001] * 3}, "more than 1000 a row"),
    ],
)
def test_parquet_that_does_not_fit_is_refused_in_words(tmp_path, rng, changes, words):
    with pytest.raises(PredictionError, match=words):
        parquet_of(tmp_path, columns_of(points(rng), **changes))


def test_parquet_without_rows_ids_or_unique_columns_is_refused(tmp_path, rng):
    columns = columns_of(points(rng))
    with pytest.raises(PredictionError, match="no predictions"):
        parquet_of(tmp_path, pa.table(columns).slice(0, 0))
    with pytest.raises(PredictionError, match="no `ids`; it holds names"):
        parquet_of(tmp_path, {"names": ["a"]})
    table = pa.table(columns)
    with pytest.raises(PredictionError, match="two columns 'ids'"):
        parquet_of(tmp_path, table.append_column("ids", table.column("ids")))


@pytest.mark.parametrize("repeated", [False, True])
def test_a_name_of_a_megabyte_in_a_small_file_takes_no_memory(tmp_path, repeated):
    """Twenty thousand ids of which one is a megabyte: 74 GB as a NumPy array of texts, 20 GB if all are."""
    long = "x" * (1 << 20)
    ids = pa.array([0] * 20_000) if repeated else pa.array(range(20_000))
    words = pa.array([long, *(str(index) for index in range(1, 20_000))][: 1 if repeated else None])
    table = pa.table({
        "ids": pa.DictionaryArray.from_arrays(ids, words), "layout": ["smpl24"] * 20_000,
        "keypoints_3d": [[0.0] * 72] * 20_000,
    })  # fmt: skip
    # The stored schema says dictionary, which would spare a reader; without it the names are plain texts.
    pq.write_table(table, tmp_path / "p.parquet", store_schema=False, compression="zstd")
    assert (tmp_path / "p.parquet").stat().st_size < 500_000
    before = pa.total_allocated_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PredictionError, match="more than 500 characters"):
        predictions.read_predictions(tmp_path / "p.parquet")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024 < 300
    assert pa.total_allocated_bytes() - before < 100 << 20


def test_damaged_parquet_ends_in_a_prediction_error_or_is_read(tmp_path, rng):
    parquet_of(tmp_path, columns_of(points(rng)))
    whole = (tmp_path / "p.parquet").read_bytes()
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for at in rng.integers(4, len(whole) - 4, 3):
            damaged[at] = rng.integers(256)
        (tmp_path / "p.parquet").write_bytes(damaged)
        try:
            predictions.read_predictions(tmp_path / "p.parquet")
        except PredictionError:
            refused += 1
    assert refused > 20


# Units ----------------------------------------------------------------------------------------------------


def people(rng, count):
    truth = points(rng, count=count)
    return truth, np.ones(truth.shape[:2], bool)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1000.0, r"1e\+03 times as large as in truth \(all of them\); millimetres, it seems: divide by 1000"),
        (100.0, "centimetres, it seems: divide by 100"),
        (3.28, "feet or another unit"),
        (39.4, "feet or another unit"),
        (0.001, "feet or another unit"),
    ],
)
def test_sizes_in_another_unit_are_refused(rng, factor, words):
    truth, there = people(rng, 4)
    predictions.check_units(2.4 * truth, truth, there, "p.npz")
    predictions.check_units(0.45 * truth, truth, there, "p.npz")
    predictions.check_units(0 * truth + 0.1, truth, there, "p.npz")  # a collapsed body is wrong, not in another unit
    with pytest.raises(PredictionError, match=words):
        predictions.check_units(factor * truth, truth, there, "p.npz")


def test_lone_outliers_pass_and_a_mix_of_units_does_not(rng):
    truth, there = people(rng, 40)
    for factor in (1000.0, 1e-3, 1e200):
        predicted = truth.copy()
        predicted[:2] *= factor  # 5 % of them
        predictions.check_units(predicted, truth, there, "p.npz")
    predicted = truth.copy()
    predicted[:3] *= 1000
    with pytest.raises(PredictionError, match=r"\(3 of 40 people, so units are mixed\); millimetres"):
        predictions.check_units(predicted, truth, there, "p.npz")
    predicted = 1000 * truth
    predicted[:3] /= 1000
    with pytest.raises(PredictionError, match=r"\(37 of 40 people, so units are mixed\); millimetres"):
        predictions.check_units(predicted, truth, there, "p.npz")
    one = np.array([1000.0, 1.0])[:, None, None] * truth[:2]
    predictions.check_units(one, truth[:2], there[:2], "p.npz")


def test_missing_people_do_not_hide_a_wrong_unit(rng):
    truth, there = people(rng, 4)
    predicted = 1000 * truth
    predicted[2:] = np.nan
    with pytest.raises(PredictionError, match="millimetres"):
        predictions.check_units(predicted, truth, there, "p.npz")
    predictions.check_units(predicted, truth, np.zeros_like(there), "p.npz")


def test_depths_in_another_unit_or_of_other_axes_are_refused(rng):
    truth = rng.uniform(2, 8, 40)
    check = predictions.check_depth
    check(truth * rng.uniform(0.3, 3, 40), truth, "p.npz")
    check(np.full(40, np.nan), truth, "p.npz")
    with pytest.raises(PredictionError, match="1e\\+03 times as far as in truth; millimetres"):
        check(1000 * truth, truth, "p.npz")
    with pytest.raises(PredictionError, match="centimetres"):
        check(100 * truth, truth, "p.npz")
    for factor in (-1, -1000):
        with pytest.raises(PredictionError, match=r"y up / z backward.*x right, y down, z forward"):
            check(factor * truth, truth, "p.npz")
    for centred in (0 * truth, rng.normal(scale=0.05, size=40)):
        with pytest.raises(PredictionError, match="`transl` must be in the camera frame"):
            check(centred, truth, "p.npz")
    wild = truth.copy()
    wild[:2] *= 1000
    check(wild, truth, "p.npz")
    wild[2] *= 1000
    with pytest.raises(PredictionError, match="3 of 40 people, so units are mixed"):
        check(wild, truth, "p.npz")
    wild[:10] = -truth[:10]  # fits behind the camera are wrong, not in another unit
    check(wild, truth, "p.npz")
