"""Predictions on labels as others publish them: numbers by hand, what is missing, and what does not fit."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.body.load import open_body
from hardmo_jax.data.predictions import PredictionError
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.labels import store
from hardmo_jax.networks import regressor_file, regressors
from hardmo_jax.networks.regressor_file import RegressorRecord
from hardmo_jax.pipelines.evaluate_published import evaluate_published, published_kind
from hardmo_jax.pipelines.network_sizes import SMALL
from hardmo_jax.pipelines.set_scores import ScoreError, compare
from hardmo_jax.skeleton import layouts
from hardmo_jax.training import regressor_objective
from tests.pipelines import refined_people

SLOTS, DETECTOR = layouts.get_layout("hmr2_44"), layouts.get_layout("openpose25")
COUNT, SIDE = 4, 200.0


@pytest.fixture
def arrays(rng):
    def keypoints(count, axes, spread):
        return np.concatenate([rng.normal(0, spread, (COUNT, count, axes)), np.ones((COUNT, count, 1))], -1)

    return {
        "imgname": np.array([f"ballet/{row}.jpg" for row in range(COUNT)]),
        "center": np.full((COUNT, 2), 100.0), "scale": np.full((COUNT, 2), SIDE),
        "body_keypoints_2d": keypoints(25, 2, 40), "extra_keypoints_2d": keypoints(19, 2, 40),
        "body_keypoints_3d": keypoints(25, 3, 0.4), "extra_keypoints_3d": keypoints(19, 3, 0.4),
    }  # fmt: skip


@pytest.fixture
def scored(tmp_path):
    def score(predictions, labels=None, protocol="hardmo", **options):
        return evaluate_published(
            [labels or f"hmr2_npz:{tmp_path / 'truth.npz'}"], predictions, open_body(), images=str(tmp_path / "in"),
            protocol_name=protocol, frames=tmp_path / "frames", **options,
        )  # fmt: skip

    return score


def points_of(arrays, key):
    """All 44 in the order of `hmr2_44`: 25 of the detector, then 19."""
    return np.concatenate([arrays[f"body_keypoints_{key}"], arrays[f"extra_keypoints_{key}"]], 1)[..., :-1]


def named(row):
    return f"ballet/{row}.jpg#{row}"


def test_names_of_published_labels_are_told_from_files():
    assert published_kind("coco:a/b.json") == ("coco", "a/b.json")
    assert published_kind("C:/labels.npz") is None
    assert published_kind("out/labels") is None


def test_labels_scored_on_themselves_are_perfect(scored, arrays, tmp_path):
    np.savez(tmp_path / "truth.npz", **arrays)
    (result,) = scored([f"hmr2_npz:{tmp_path / 'truth.npz'}"])
    assert result.means["mpjpe/body_17"] == 0
    assert result.means["pa_mpjpe/foot_6"] < 1e-9
    assert result.pck["body_17"] == (1.0, 1.0)
    assert (result.num_samples, result.num_missing, result.num_nonfinite) == (COUNT, 0, 0)
    # Nobody has fingertips here: the hand is its wrists, and says so.
    assert result.pck["hand_2"] == (1.0, 1.0)
    assert any(note.startswith("hand in the picture is without left_thumb_tip") for note in result.notes)


def test_numbers_are_those_by_hand(scored, arrays, tmp_path, rng):
    np.savez(tmp_path / "truth.npz", **arrays)
    moved_3d = points_of(arrays, "3d") + rng.normal(0, 0.05, (COUNT, 44, 3))
    moved_2d = points_of(arrays, "2d") + rng.normal(0, 6, (COUNT, 44, 2))
    order = rng.permutation(COUNT)
    ids = [named(row) for row in order]
    np.savez(tmp_path / "mine.npz", ids=np.array(ids), layout="hmr2_44", keypoints_3d=moved_3d[order],
             keypoints_2d=moved_2d[order])  # fmt: skip
    (result,) = scored([str(tmp_path / "mine.npz")])
    body = [SLOTS.index(point) for point in result.protocol.point_set("body").points]
    root = SLOTS.index("pelvis_mpii")
    apart = (moved_3d - moved_3d[:, [root]]) - (points_of(arrays, "3d") - points_of(arrays, "3d")[:, [root]])
    assert result.means["mpjpe/body_17"] == pytest.approx(np.linalg.norm(apart, axis=-1)[:, body].mean(), rel=1e-6)
    # The stored box is the one that distances are shares of: it is grown already.
    share = np.linalg.norm(moved_2d - points_of(arrays, "2d"), axis=-1)[:, body] / SIDE
    assert result.pck["body_17"] == pytest.approx([(share < at).mean(0).mean() for at in (0.01, 0.05)])


def test_people_who_are_not_predicted_are_missing_and_miss(scored, arrays, tmp_path):
    np.savez(tmp_path / "truth.npz", **arrays)
    ids = np.array([named(row) for row in range(3)])
    points = points_of(arrays, "3d")[:3].copy()
    points[1] = np.nan
    np.savez(tmp_path / "mine.npz", ids=ids, layout="hmr2_44", keypoints_3d=points,
             keypoints_2d=points_of(arrays, "2d")[:3])  # fmt: skip
    (result,) = scored([str(tmp_path / "mine.npz")])
    assert (result.num_missing, result.num_nonfinite) == (1, 1)
    assert result.pck["body_17"] == pytest.approx((0.75, 0.75))
    assert np.isfinite(result.errors["mpjpe/body_17"]).sum() == 2
    np.savez(tmp_path / "other.npz", ids=ids, layout="hmr2_44", keypoints_3d=points_of(arrays, "3d")[:3] * 1.1)
    both = scored([str(tmp_path / "mine.npz"), str(tmp_path / "other.npz")])
    assert compare(*both, num_resamples=100)["mpjpe/body_17"].num_samples == 2


def test_people_without_a_common_name_are_paired_by_their_boxes(scored, arrays, tmp_path):
    """Rows of another file of the same pictures, in another order, with one person elsewhere."""
    np.savez(tmp_path / "truth.npz", **arrays)
    order = np.array([2, 0, 3, 1])
    others = {name: value[order] for name, value in arrays.items()}
    others["imgname"] = np.array([f"copies/{name}" for name in others["imgname"]])
    others["center"] = others["center"] + 10.0
    others["center"][1] += 500.0
    np.savez(tmp_path / "theirs.npz", **others)
    (result,) = scored([f"hmr2_npz:{tmp_path / 'theirs.npz'}"])
    assert result.num_missing == 1
    assert np.isnan(result.errors["mpjpe/body_17"][0])
    np.testing.assert_allclose(result.errors["mpjpe/body_17"][1:], 0)


def test_what_does_not_fit_is_told(scored, arrays, tmp_path):
    np.savez(tmp_path / "truth.npz", **arrays)
    truth = f"hmr2_npz:{tmp_path / 'truth.npz'}"
    np.savez(tmp_path / "strangers.npz", ids=np.array(["x"]), layout="hmr2_44", keypoints_3d=np.zeros((1, 44, 3)))
    for predictions, options, error, words in (
        ([], {}, ScoreError, "--predictions"),
        ([str(tmp_path / "strangers.npz")], {}, ScoreError, "names look like"),
        ([truth], {"protocol": "3dpw14"}, ScoreError, "hardmo"),
        ([str(tmp_path)], {}, ScoreError, "neither the folder of a network"),
        ([truth], {"labels": str(tmp_path / "truth.npz")}, ScoreError, "KIND:PATH"),
        ([truth], {"labels": "hmr2_npz:nowhere.npz"}, FileNotFoundError, "nowhere.npz"),
        ([truth], {"labels": "hmr2npz:nowhere.npz"}, ScoreError, "did you mean 'hmr2_npz'"),
    ):
        with pytest.raises(error, match=words):
            scored(predictions, **options)
    params = {"betas": np.zeros((1, 10)), "global_orient": np.zeros((1, 3)), "body_pose": np.zeros((1, 23, 3)),
              "transl": np.ones((1, 3))}  # fmt: skip
    np.savez(tmp_path / "params.npz", ids=np.array([named(0)]), body="another/smpl", **params)
    with pytest.raises(PredictionError, match="another"):
        scored([str(tmp_path / "params.npz")])


@pytest.fixture(scope="module")
def people():
    found = refined_people.people(5)
    return found, refined_people.labels_of(found, found.params)


def test_a_network_is_scored_on_labels_with_their_photos(scored, people, tmp_path, figure):
    _, rows = people
    rows = refined_people.write_photos(rows, tmp_path / "in")
    store.write_labels(tmp_path / "labels" / "labels.parquet", rows)
    network = regressor_objective.with_usual_start(regressors.untrained("hmr", SMALL["hmr"], seed=0))
    weights = regressors.named_weights(network.weights)
    record = RegressorRecord(
        model="hmr", options=dataclasses.asdict(network.options), image_size=network.image_size,
        num_parameters=1, source_name="made", source_sha256="0" * 64, source_bytes=0, left_out={}, settings={},
    )  # fmt: skip
    regressor_file.save_converted(tmp_path / "network", record, weights, None)
    labels = f"labels:{tmp_path / 'labels'}"
    same, result = scored([labels, str(tmp_path / "network")], labels=labels)
    assert same.means["mpjpe/body_17"] == 0
    assert same.means["orientation_degrees/left_ankle"] < 1e-3
    # Somebody who stands is not far from dancers, and not one of them either.
    assert 0.02 < result.means["mpjpe/body_17"] < 0.6
    assert {"mpjpe/hand_12", "mpjpe/foot_6", "orientation_degrees/left_wrist"} <= set(result.means)
    assert 0 <= result.pck["body_17"][1] <= 1
    assert result.num_samples == len(rows)
    assert len(scored([str(tmp_path / "network")], labels=labels, limit=2)[0].ids) == 2
    photos = sorted((tmp_path / "in").rglob("*.jpg"))
    photos[0].unlink()
    (some,) = scored([str(tmp_path / "network")], labels=labels)
    assert some.num_nonfinite == 1
    assert any("pictures of 1 people cannot be used" in note for note in some.notes)
    for photo in photos[1:]:
        photo.unlink()
    with pytest.raises(TrainingDataError, match="no picture of any of the first 5 people"):
        scored([str(tmp_path / "network")], labels=labels)
