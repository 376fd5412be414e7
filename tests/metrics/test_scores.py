"""The one entry of an evaluation: its names, its masks, what it refuses, and the published evaluator's numbers."""

import dataclasses
import inspect

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.metrics import keypoints, pose, protocols, scores
from tests.reference import metrics_numpy

HARDMO = protocols.get_protocol("hardmo")
BODY17 = (0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)


@pytest.fixture
def samples(rng):
    true_3d = rng.normal(size=(12, 54, 3))
    true_2d = rng.uniform(0, 300, size=(12, 54, 2))
    true_rotations = Rotation.random(12 * 24, rng=rng).as_matrix().reshape(12, 24, 3, 3)
    turn = Rotation.from_rotvec(rng.normal(scale=0.2, size=(12 * 24, 3))).as_matrix().reshape(12, 24, 3, 3)
    true_vertices = rng.normal(size=(12, 100, 3))
    return {
        "predicted_3d": true_3d + rng.normal(scale=0.05, size=true_3d.shape),
        "true_3d": true_3d,
        "is_valid_3d": rng.random((12, 54)) < 0.95,
        "predicted_2d": true_2d + rng.normal(scale=5, size=true_2d.shape),
        "true_2d": true_2d,
        "confidence": rng.random((12, 54)),
        "predicted_rotations": turn @ true_rotations,
        "true_rotations": true_rotations,
        "predicted_vertices": true_vertices + 0.1 * rng.normal(size=true_vertices.shape),
        "true_vertices": true_vertices,
    }


def test_names_of_metrics_carry_their_points(samples):
    result = scores.score_samples(HARDMO, **samples)
    sets = ["body_17", "foot_6", "hand_12", "left_body_8", "right_body_8"]
    sided = ["left_foot_3", "right_foot_3", "left_hand_6", "right_hand_6"]
    bases = ["left_ankle", "right_ankle", "left_wrist", "right_wrist"]
    assert set(result.errors) == {
        *(f"mpjpe/{name}" for name in sets + sided),
        *(f"pa_mpjpe/{name}" for name in sets),
        *(f"relative_error/{name}" for name in ["left_foot_3", "right_foot_3", "left_hand_5", "right_hand_5"]),
        "arm_pa/left_arm_7",
        "arm_pa/right_arm_7",
        *(f"orientation_degrees/{base}" for base in bases),
        *(f"orientation_after_body_alignment_degrees/{base}" for base in bases),
        "vertex_error/mesh_100",
    }
    assert set(result.pck) == {f"pck/{name}" for name in sets + sided}
    assert all(errors.values.shape == (12,) for errors in result.errors.values())
    assert (result.num_samples, result.num_nonfinite, result.num_without_box) == (12, 0, 0)
    assert set(result.means()) == set(result.errors)


def test_scores_are_those_of_slow_loops(samples):
    result = scores.score_samples(HARDMO, **samples)
    predicted, truth, is_valid = (samples[name] for name in ("predicted_3d", "true_3d", "is_valid_3d"))
    theirs = {
        "mpjpe/body_17": metrics_numpy.mpjpe(predicted, truth, (39,), BODY17, is_valid),
        "mpjpe/foot_6": metrics_numpy.mpjpe(predicted, truth, (39,), range(19, 25), is_valid),
        "mpjpe/hand_12": metrics_numpy.mpjpe(predicted, truth, (39,), (4, 7, *range(44, 54)), is_valid),
        "pa_mpjpe/foot_6": metrics_numpy.pa_mpjpe(predicted, truth, range(19, 25), is_valid),
        "relative_error/right_foot_3": metrics_numpy.relative_error(
            predicted, truth, (22, 23, 24), 11, BODY17, is_valid
        ),
        "relative_error/left_hand_5": metrics_numpy.relative_error(
            predicted, truth, range(44, 49), 7, BODY17, is_valid
        ),
        "orientation_degrees/left_ankle": [
            metrics_numpy.angle_degrees(p, t)
            for p, t in zip(samples["predicted_rotations"][:, 7], samples["true_rotations"][:, 7], strict=True)
        ],
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(result.errors[name].values, expected, atol=1e-6, err_msg=name)
    sides = []
    for points, confidence in zip(samples["true_2d"], samples["confidence"], strict=True):
        seen = points[confidence > 0.5]
        sides.append(1.2 * max(seen[:, 0].max() - seen[:, 0].min(), seen[:, 1].max() - seen[:, 1].min()))
    for row, threshold in enumerate((0.01, 0.05)):
        _, mean = metrics_numpy.pck(
            *(samples[name][:, BODY17] for name in ("predicted_2d", "true_2d", "confidence")), sides, threshold, 0.5
        )
        np.testing.assert_allclose(result.pck["pck/body_17"].mean[row], mean, rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        ({"root": ("mid_hip",)}, ["mpjpe/body_17", "vertex_error/mesh_100"]),
        ({"box": keypoints.BoxConvention(scale=1.0)}, ["pck/body_17"]),
        ({"min_confidence": 0.3}, ["pck/body_17"]),
        ({"pck_thresholds": (0.02, 0.1)}, ["pck/body_17"]),
        ({"body_set": "foot"}, ["relative_error/left_foot_3", "orientation_after_body_alignment_degrees/left_ankle"]),
    ],
)
def test_every_decision_of_a_protocol_changes_its_scores(samples, change, metrics):
    one, other = (scores.score_samples(p, **samples) for p in (HARDMO, dataclasses.replace(HARDMO, **change)))
    for name in metrics:
        if name.startswith("pck/"):
            assert not np.array_equal(one.pck[name].mean, other.pck[name].mean)
        else:
            assert not np.allclose(one.errors[name].values, other.errors[name].values, equal_nan=True)


def test_shards_merge_to_the_whole(samples):
    whole = scores.score_samples(HARDMO, **samples)
    parts = [
        scores.score_samples(HARDMO, **{name: array[start::2] for name, array in samples.items()}) for start in (0, 1)
    ]
    for name, mean in whole.means().items():
        merged = parts[1].means()[name].merge(parts[0].means()[name])
        assert merged.num_samples == mean.num_samples
        assert merged.mean == pytest.approx(mean.mean, rel=1e-12)
    for name, pck in whole.pck.items():
        np.testing.assert_array_equal(parts[0].pck[name].merge(parts[1].pck[name]).num_hits, pck.num_hits)


def test_a_perfect_prediction_has_no_error(samples):
    perfect = {name: samples[name.replace("predicted", "true")] for name in samples}
    result = scores.score_samples(HARDMO, **perfect)
    for name, errors in result.errors.items():
        assert np.nanmax(errors.values) < 1e-5, name
    for pck in result.pck.values():
        assert pck.mean.tolist() == [1, 1]


def test_predictions_that_are_no_numbers_are_counted_and_left_out_of_means(samples):
    samples["is_valid_3d"][:] = True
    samples["is_valid_3d"][3, 30] = False
    samples["predicted_3d"][[1, 2], 0] = np.nan
    samples["predicted_3d"][3, 30] = np.nan
    samples["confidence"][5, 7] = 1
    samples["predicted_2d"][5, 7] = np.inf
    samples["predicted_rotations"][6] = np.nan
    samples["predicted_vertices"][7, 9] = np.nan
    result = scores.score_samples(HARDMO, **samples)
    assert result.num_nonfinite == 5
    means = result.means()
    assert means["mpjpe/body_17"].num_nonfinite == 2
    assert means["mpjpe/foot_6"].num_nonfinite == 0
    assert means["orientation_degrees/left_wrist"].num_nonfinite == 1
    # The alignment of a body that is NaN is NaN.
    assert means["relative_error/left_foot_3"].num_nonfinite == 2
    assert means["vertex_error/mesh_100"].num_nonfinite == 1


def test_people_without_a_box_are_counted(samples):
    samples["confidence"][2] = 0
    samples["confidence"][2, 3] = 1
    result = scores.score_samples(HARDMO, **samples)
    assert result.num_without_box == 1
    samples["confidence"][2] = 0
    assert scores.score_samples(HARDMO, **samples).num_without_box == 0


def test_points_of_low_confidence_do_not_widen_the_box(samples):
    expected = scores.score_samples(HARDMO, **samples).pck["pck/body_17"].mean
    samples["confidence"][:, 30] = 0.5
    samples["true_2d"][:, 30] = 1e4
    unseen = scores.score_samples(HARDMO, **samples).pck["pck/body_17"].mean
    np.testing.assert_allclose(unseen, expected, atol=0.05)
    assert unseen[0] < 0.5


def test_truth_that_is_not_there_is_no_score(samples):
    samples["is_valid_3d"][:] = False
    samples["true_3d"][:] = np.nan
    samples["confidence"][:] = 0
    result = scores.score_samples(HARDMO, **samples)
    for name, errors in result.errors.items():
        assert errors.is_valid.all() == name.startswith("orientation_degrees"), name
    assert all(np.isnan(pck.mean).all() for pck in result.pck.values())
    assert result.num_nonfinite == 0


def test_a_mesh_without_truth_is_left_out(samples):
    has_mesh = np.arange(12) % 3 > 0
    samples["true_vertices"][~has_mesh] = np.nan
    samples["is_valid_3d"][:] = True
    result = scores.score_samples(HARDMO, **samples, is_valid_vertices=has_mesh)
    np.testing.assert_array_equal(result.errors["vertex_error/mesh_100"].is_valid, has_mesh)


def test_points_alone_and_pixels_alone_can_be_scored(samples):
    only_3d = scores.score_samples(HARDMO, predicted_3d=samples["predicted_3d"], true_3d=samples["true_3d"])
    assert not only_3d.pck
    only_2d = {name: samples[name] for name in ("predicted_2d", "true_2d", "confidence")}
    assert not scores.score_samples(HARDMO, **only_2d).errors
    rotations = {name: samples[name] for name in ("predicted_rotations", "true_rotations")}
    assert len(scores.score_samples(HARDMO, **rotations).errors) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true_3d": None}, "`predicted_3d` without `true_3d`"),
        ({"predicted_rotations": None}, "`true_rotations` without `predicted_rotations`"),
        ({"predicted_3d": np.zeros((12, 44, 3))}, r"`predicted_3d` is \(12, 44, 3\), expected \(N, 54, 3\).*hardmo_54"),
        ({"true_2d": np.zeros((12, 54, 3))}, r"`true_2d` is \(12, 54, 3\), expected \(N, 54, 2\)"),
        ({"true_rotations": np.zeros((12, 22, 3, 3))}, r"expected \(N, 24, 3, 3\)"),
        ({"confidence": None}, "without `confidence`"),
        ({"confidence": np.ones((12, 44))}, r"`confidence` is \(12, 44\), expected \(12, 54\): one"),
        ({"confidence": np.ones((12, 54, 1))}, r"`confidence` is \(12, 54, 1\), expected \(12, 54\)"),
        ({"predicted_3d": np.zeros((12, 54)), "true_3d": np.zeros((12, 54))}, r"expected \(N, 54, 3\)"),
        ({"predicted_vertices": np.zeros((12, 3)), "true_vertices": np.zeros((12, 3))}, r"expected \(N, V, 3\)"),
        ({"predicted_3d": None, "true_3d": None}, "vertices without 3D points"),
        ({"predicted_2d": np.zeros((3, 54, 2)), "true_2d": np.zeros((3, 54, 2))}, "different numbers of samples"),
        ({"is_valid_vertices": np.ones(3, bool)}, r"`is_valid_vertices` is \(3,\), expected \(12,\)"),
        ({"rotation_joints": tuple(f"joint{index}" for index in range(24))}, "lack 'left_ankle'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(samples, change, message):
    with pytest.raises(ValueError, match=message):
        # Without the run-time check of shapes, which speaks first in tests and is absent in production.
        inspect.unwrap(scores.score_samples)(HARDMO, **{**samples, **change})


def test_nothing_to_score_is_refused(samples):
    with pytest.raises(ValueError, match="nothing to score"):
        scores.score_samples(HARDMO)
    with pytest.raises(ValueError, match="nothing to score"):
        scores.score_samples(HARDMO, predicted_3d=np.zeros((0, 54, 3)), true_3d=np.zeros((0, 54, 3)))
    stored = protocols.get_protocol("4dhumans")
    with pytest.raises(ValueError, match="needs `box_sides`"):
        scores.score_samples(
            stored, predicted_2d=np.zeros((2, 44, 2)), true_2d=np.zeros((2, 44, 2)), confidence=np.ones((2, 44))
        )


def test_boxes_without_a_side_are_counted_and_score_nothing(samples):
    sides = np.full(12, 300.0)
    sides[:4] = 0, -1, np.nan, np.inf
    samples["confidence"][:] = 1
    samples["confidence"][1] = 0  # of whom nothing is seen: neither a box nor one that lacks
    points = {name: samples[name] for name in ("predicted_2d", "true_2d", "confidence")}
    result = scores.score_samples(HARDMO, **points, box_sides=sides)
    assert result.num_without_box == 3
    assert result.pck["pck/body_17"].num_counted.tolist() == [8] * 17


# ---- the published evaluator ----------------------------------------------------------------------------------


@pytest.fixture
def published(reference_data):
    path = reference_data.parent / "parity" / "eval_hmr2_seed1.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def published_arguments(published):
    """Crop fractions as pixels of the crop, and the stored box in the same pixels."""
    box = published["inp/box_size"].astype(float)[:, None, None]
    return {
        "predicted_3d": published["inp/pred_keypoints_3d"],
        "true_3d": published["inp/keypoints_3d"][..., :3],
        "predicted_2d": published["inp/pred_keypoints_2d"] * box,
        "true_2d": published["inp/keypoints_2d"][..., :2] * box,
        "confidence": published["inp/keypoints_2d"][..., 2],
        "box_sides": 200 * published["inp/_scale"].max(-1),
    }


def test_4dhumans_scores_are_those_of_its_evaluator(published, figure):
    protocol = dataclasses.replace(protocols.get_protocol("4dhumans"), pck_thresholds=(0.01, 0.05, 0.1))
    result = scores.score_samples(protocol, **published_arguments(published))
    worst = 0.0
    for name, key, total in (("mpjpe/body_14", "mpjpe", "mode_mpjpe"), ("pa_mpjpe/body_14", "pa", "mode_re")):
        ours_mm = 1000 * result.errors[name].values
        # The evaluator computes in single precision: 1e-6 of 100 mm is its last digit or two.
        np.testing.assert_allclose(ours_mm, published[f"per_sample/{key}"], rtol=1e-6)
        np.testing.assert_allclose(1000 * result.means()[name].mean, published[f"metrics/{total}"], rtol=1e-6)
        worst = max(worst, np.abs(ours_mm / published[f"per_sample/{key}"] - 1).max())
    pck = result.pck["pck/all_44"]
    for row, threshold in enumerate(("0.01", "0.05", "0.1")):
        theirs = [published[f"metrics/kp{index}_pck_{threshold}"] for index in range(44)]
        np.testing.assert_allclose(pck.per_keypoint[row], theirs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(pck.mean[row], published[f"metrics/kpAvg_pck_{threshold}"], rtol=0, atol=1e-12)
    figure(f"4DHumans evaluator: MPJPE and PA-MPJPE within {worst:.1e} (relative), PCK equal")


def test_squared_keypoint_error_is_that_of_its_evaluator(published):
    truth = published["inp/keypoints_2d"]
    error = keypoints.keypoint_squared_error(published["inp/pred_keypoints_2d"], truth[..., :2], truth[..., 2])
    np.testing.assert_allclose(error, published["per_sample/kpl2"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(error.mean(), published["metrics/mode_kpl2"], rtol=0, atol=1e-9)


def test_alignment_of_all_points_is_that_of_its_evaluator(published):
    source, target = published["inp/pred_keypoints_3d"], published["inp/keypoints_3d"][..., :3]
    moved = pose.similarity_align(source, target).apply(source.astype(float))
    # Metres; its singular value decomposition is in single precision.
    np.testing.assert_allclose(moved, published["sim"], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"root": ("mid_hip",)},
        {"point_sets": (protocols.PointSet(name="body", points=("nose", "neck", "left_knee"), has_pck=False),)},
        {"min_confidence": 0.4},
        {"box": keypoints.BoxConvention(scale=1.2, is_scaled=False)},
    ],
)
def test_a_changed_protocol_misses_the_published_numbers(published, change):
    protocol = dataclasses.replace(protocols.get_protocol("4dhumans"), **change)
    result = scores.score_samples(protocol, **published_arguments(published))
    found = [1000 * mean.mean for mean in result.means().values()]
    found += [value for pck in result.pck.values() for value in pck.mean]
    expected = [published["metrics/mode_mpjpe"], published["metrics/mode_re"]]
    expected += [published[f"metrics/kpAvg_pck_{threshold}"] for threshold in ("0.05", "0.1")]
    assert len(found) != len(expected) or not np.allclose(found, expected, rtol=1e-6)
