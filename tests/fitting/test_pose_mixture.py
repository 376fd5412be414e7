"""The learned pose prior: against brute force, SciPy's densities and the mirror, and its file."""

import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hardmo_jax.fitting import objective, pose_mixture, priors, variables
from hardmo_jax.fitting.pose_mixture import PARTS, Mixture, PosePriorError, read_mixtures, save_mixtures
from hardmo_jax.skeleton import joint_limits, layouts

JOINTS = layouts.SMPLH_JOINTS
COUNT = 40


def make_mixtures(components=3, seed=0):
    """Mixtures over all parts with odd weights and full covariances."""
    rng = np.random.default_rng(seed)
    mixtures = {}
    for part, joints in PARTS.items():
        width = 3 * len(joints)
        roots = rng.normal(size=(components, width, width)) * 0.3 / np.sqrt(width)
        weights = rng.uniform(0.2, 1, components)
        mixtures[part] = Mixture(
            weights=weights / weights.sum(),
            means=rng.normal(size=(components, width)) * 0.3,
            covariances=roots @ roots.swapaxes(-1, -2) + 0.03 * np.eye(width),
        )
    return mixtures


@pytest.fixture(scope="module")
def mixtures():
    return make_mixtures()


@pytest.fixture(scope="module")
def parts(mixtures):
    return pose_mixture.part_priors(mixtures, JOINTS, np.dtype(np.float64))


@pytest.fixture(scope="module")
def poses():
    return np.random.default_rng(1).normal(size=(COUNT, 3 * (len(JOINTS) - 1))) * 0.4


@jax.jit
def _nearest(parts, poses):
    found = [pose_mixture.nearest(part, poses) for part in parts]
    return [(near.component, near.whitened, near.constant, near.gradient) for near in found]


@pytest.fixture(scope="module")
def found(parts, poses):
    """Component, whitened deviation, constant and gradient of every part."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _nearest(parts, jnp.asarray(poses)))


def names_of(part):
    """Joints that a part stands for, by its entries of the pose."""
    rows = np.array(part.entries).reshape(-1, 3)
    np.testing.assert_array_equal(rows % 3, np.tile(np.arange(3), (len(rows), 1)))
    return tuple(JOINTS[1 + row[0] // 3] for row in rows)


def mixture_of(part, mixtures):
    """The mixture of a part under its own names, written out: the mirror is (x, -y, -z) of the other side."""
    names = names_of(part)
    name = next(key for key, joints in PARTS.items() if set(joints) <= set(names) | {mirrored(n) for n in names})
    given = mixtures[name]
    if names == PARTS[name]:
        return given
    assert names == tuple(mirrored(joint) for joint in PARTS[name])
    signs = np.tile([1.0, -1.0, -1.0], len(names))
    return Mixture(
        weights=given.weights,
        means=np.array([mean * signs for mean in given.means]),
        covariances=np.array([np.diag(signs) @ covariance @ np.diag(signs) for covariance in given.covariances]),
    )


def mirrored(joint):
    side, mark, rest = joint.partition("_")
    return f"{ {'left': 'right', 'right': 'left'}[side] }{mark}{rest}" if side in ("left", "right") else joint


def log_densities(mixture, values):
    """Weight times density of each component, (N, K)."""
    return np.stack(
        [
            np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(values)
            for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
        ],
        axis=1,
    )


# ---- parts ------------------------------------------------------------------------------------------------------


def test_parts_cover_every_joint_of_smplh_once(parts):
    names = [name for part in parts for name in names_of(part)]
    assert sorted(names) == sorted(JOINTS[1:])
    assert len(parts) == 2 * len(PARTS) - 1, "all but the trunk have two sides"


def test_the_simple_view_has_parts_for_all_but_its_hands(mixtures):
    found = pose_mixture.part_priors(mixtures, layouts.SMPL_JOINTS, np.dtype(np.float64))
    entries = sorted(entry for part in found for entry in part.entries)
    assert entries == list(range(3 * 21))
    assert len(found) == 9


def test_smplx_keeps_the_written_prior_for_jaw_and_eyes(mixtures):
    found = pose_mixture.part_priors(mixtures, layouts.SMPLX_JOINTS, np.dtype(np.float64))
    left = set(range(3 * 54)) - {entry for part in found for entry in part.entries}
    assert left == {3 * (layouts.SMPLX_JOINTS.index(joint) - 1) + axis
                    for joint in ("jaw", "left_eyeball", "right_eyeball") for axis in range(3)}  # fmt: skip


def test_parts_without_a_mixture_are_left_out(mixtures):
    found = pose_mixture.part_priors({"foot": mixtures["foot"]}, JOINTS, np.dtype(np.float32))
    assert [part.means.dtype for part in found] == [np.float32] * 2
    assert pose_mixture.part_priors({}, JOINTS, np.dtype(np.float32)) == ()


# ---- the nearest component --------------------------------------------------------------------------------------


def test_nearest_is_the_component_with_the_highest_weighted_density(parts, mixtures, poses, found):
    for part, (component, *_) in zip(parts, found, strict=True):
        logs = log_densities(mixture_of(part, mixtures), poses[:, np.array(part.entries)])
        np.testing.assert_array_equal(component, logs.argmax(1))
    assert any(len(np.unique(component)) == 3 for component, *_ in found), "the case must use several components"


def test_differences_of_the_cost_are_those_of_true_log_densities(parts, mixtures, poses, found):
    """Half the squared deviation and the constant are the negative logarithm up to one number for all people."""
    for part, (_, whitened, constant, _) in zip(parts, found, strict=True):
        logs = log_densities(mixture_of(part, mixtures), poses[:, np.array(part.entries)])
        cost = 0.5 * np.sum(whitened**2, -1) + constant
        np.testing.assert_allclose(cost - cost[0], logs.max(1)[0] - logs.max(1), rtol=1e-8, atol=1e-8)


def test_constants_of_all_components_are_those_of_their_heights(parts, mixtures):
    for part in parts:
        mixture = mixture_of(part, mixtures)
        heights = np.diag(log_densities(mixture, mixture.means))
        np.testing.assert_allclose(part.constants, heights.max() - heights, atol=1e-9)
        assert part.constants.min() == 0


def test_whitened_deviations_are_mahalanobis_distances(parts, mixtures, poses, found):
    for part, (component, whitened, constant, _) in zip(parts, found, strict=True):
        mixture, values = mixture_of(part, mixtures), poses[:, np.array(part.entries)]
        for person in range(0, COUNT, 7):
            k = component[person]
            apart = values[person] - mixture.means[k]
            expected = apart @ np.linalg.solve(mixture.covariances[k], apart)
            np.testing.assert_allclose(np.sum(whitened[person] ** 2), expected, rtol=1e-9)
            assert constant[person] == part.constants[k]


def test_gradient_is_that_of_half_the_squared_deviation(parts, mixtures, poses, found):
    for part, (component, _, _, gradient) in zip(parts, found, strict=True):
        mixture, values = mixture_of(part, mixtures), poses[:, np.array(part.entries)]
        for person in range(0, COUNT, 7):
            k = component[person]
            expected = np.linalg.solve(mixture.covariances[k], values[person] - mixture.means[k])
            np.testing.assert_allclose(gradient[person], expected, rtol=1e-8, atol=1e-8)


def test_factors_and_precisions_are_of_one_matrix(parts, mixtures):
    for part in parts:
        np.testing.assert_allclose(part.factors.swapaxes(-1, -2) @ part.factors, part.precisions, rtol=1e-8, atol=1e-8)
        assert not np.tril(part.factors, -1).any()
        np.testing.assert_allclose(
            part.precisions @ mixture_of(part, mixtures).covariances,
            np.broadcast_to(np.eye(len(part.entries)), part.precisions.shape),
            atol=1e-8,
        )


def test_a_person_in_the_mirror_is_as_likely(parts, poses, found):
    order = [JOINTS.index(mirrored(joint)) - 1 for joint in JOINTS[1:]]
    mirror = (poses.reshape(COUNT, -1, 3)[:, order] * np.array(joint_limits.MIRROR_SIGNS)).reshape(COUNT, -1)
    # The trunk has no second side: it is as likely in the mirror only if motion is, which made-up mixtures are not.
    with jax.enable_x64(True):
        seen = jax.tree.map(np.asarray, _nearest(parts, jnp.asarray(mirror)))
    by_names = {names_of(part): row for part, row in zip(parts, seen, strict=True)}
    for part, (component, whitened, constant, _) in zip(parts, found, strict=True):
        if names_of(part) == PARTS["trunk"]:
            continue
        other = by_names[tuple(mirrored(joint) for joint in names_of(part))]
        np.testing.assert_array_equal(component, other[0])
        np.testing.assert_allclose(np.sum(whitened**2, -1), np.sum(other[1] ** 2, -1), rtol=1e-9)
        np.testing.assert_array_equal(constant, other[2])


def test_two_mirrors_are_none(mixtures):
    for mixture in mixtures.values():
        again = mixture.mirrored().mirrored()
        np.testing.assert_array_equal(again.means, mixture.means)
        np.testing.assert_array_equal(again.covariances, mixture.covariances)


def test_as_one_has_the_mean_and_covariance_of_samples(mixtures):
    rng = np.random.default_rng(3)
    mixture = mixtures["leg"]
    which = rng.choice(3, size=200_000, p=mixture.weights)
    factors = np.linalg.cholesky(mixture.covariances)
    samples = mixture.means[which] + np.einsum("nij,nj->ni", factors[which], rng.normal(size=(len(which), 6)))
    one = mixture.as_one()
    np.testing.assert_allclose(one.means[0], samples.mean(0), atol=0.01)
    np.testing.assert_allclose(one.covariances[0], np.cov(samples.T), atol=0.01)
    np.testing.assert_array_equal(one.weights, [1.0])


# ---- as a prior of a fit ----------------------------------------------------------------------------------------


def test_prior_of_a_fit_starts_at_the_mean_of_the_mixtures_within_the_limits(mixtures):
    layout = variables.Layout(num_betas=10, family="smpl", num_joints=24)
    prior = objective.make_prior(layout, layouts.SMPL_JOINTS, 0.05, np.dtype(np.float64), mixtures=mixtures)
    written = priors.pose_prior(layouts.SMPL_JOINTS)
    for part in prior.parts:
        entries = 10 + np.array(part.entries)
        np.testing.assert_array_equal(prior.spread[entries], np.inf)
        expected = np.clip(part.mean, prior.low[entries], prior.high[entries])
        np.testing.assert_allclose(prior.mean[entries], expected, atol=1e-12)
    hands = slice(10 + 3 * 21, None)
    np.testing.assert_allclose(prior.mean[hands], written.mean[21:].ravel())
    np.testing.assert_allclose(prior.spread[hands], written.spread[21:].ravel())
    np.testing.assert_array_equal(prior.mean[:10], 0)
    np.testing.assert_array_equal(prior.spread[:10], 1)


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(mixtures, tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "deep" / "prior.npz"
    save_mixtures(path, mixtures, {"seed": 0})
    assert [child.name for child in path.parent.iterdir()] == ["prior.npz"]
    return path.read_bytes()


def rewritten(data, **changes):
    """The file with other arrays of the legs; None takes one away."""
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file) | {f"leg.{name}": value for name, value in changes.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in arrays.items() if value is not None})
    return buffer.getvalue()


def test_what_was_saved_comes_back(mixtures, data):
    again = read_mixtures(data, source="prior.npz")
    assert tuple(again) == tuple(PARTS)
    for part, mixture in mixtures.items():
        for field in dataclasses.fields(mixture):
            theirs = np.asarray(getattr(mixture, field.name), np.float32)
            np.testing.assert_array_equal(getattr(again[part], field.name), theirs)


FLAT = np.zeros((3, 6, 6), np.float32)


@pytest.mark.parametrize(
    "changes",
    [
        {"means": None},
        {"covariances": None},
        {"means": np.zeros((3, 5), np.float32)},
        {"means": np.zeros((2, 6), np.float32)},
        {"means": np.full((3, 6), np.nan, np.float32)},
        {"means": np.full((3, 6), np.inf, np.float32)},
        {"means": np.array("text")},
        {"covariances": FLAT},
        {"covariances": FLAT - np.eye(6, dtype=np.float32)},
        {"covariances": np.full((3, 6, 6), np.nan, np.float32)},
        {"covariances": FLAT[:, :5, :5] + np.eye(5, dtype=np.float32)},
        {"covariances": FLAT + np.eye(6, dtype=np.float32) + 0.5 * np.eye(6, k=3, dtype=np.float32)},
        {"weights": np.array([0.5, 0.5, 0.0], np.float32)},
        {"weights": np.array([0.9, 0.9, -0.8], np.float32)},
        {"weights": np.array([np.nan, 0.5, 0.5], np.float32)},
        {"weights": np.array([3.0, 3.0, 3.0], np.float32)},
        {"weights": np.array(1.0, np.float32)},
        {"weights": np.zeros(0, np.float32), "means": np.zeros((0, 6)), "covariances": np.zeros((0, 6, 6))},
    ],
)
def test_what_is_no_mixture_is_refused_in_words(data, changes):
    with pytest.raises(PosePriorError, match=r"(?s)mine\.npz: not a pose prior .*tools\.train"):
        read_mixtures(rewritten(data, **changes), source="mine.npz")


@pytest.mark.parametrize("spoil", [lambda data: data[:-300], lambda data: b"", lambda data: b"text"])
def test_cut_off_and_foreign_files_are_refused(data, spoil):
    with pytest.raises(PosePriorError, match=r"mine\.npz"):
        read_mixtures(spoil(data), source="mine.npz")


def test_an_archive_of_something_else_is_no_prior():
    """A prior that holds nothing would leave the written one in its place, and nobody would know."""
    buffer = io.BytesIO()
    np.savez(buffer, poses=np.zeros((4, 72)))
    with pytest.raises(PosePriorError, match=r"mine\.npz: not a pose prior"):
        read_mixtures(buffer.getvalue(), source="mine.npz")


# ---- the one that ships -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packaged():
    return pose_mixture.packaged_mixtures()


def test_packaged_mixtures_are_of_every_part_and_read_once(packaged):
    assert tuple(packaged) == tuple(PARTS)
    assert pose_mixture.packaged_mixtures() is packaged
    for part, mixture in packaged.items():
        assert len(mixture.weights) > 1, part
        np.testing.assert_allclose(mixture.weights.sum(), 1, atol=1e-5)
        # Nobody is certain to less than three degrees.
        assert np.sqrt(np.linalg.eigvalsh(mixture.covariances).min()) > np.radians(2.9), part


def test_packaged_means_are_poses_of_people(packaged):
    for part, joints in PARTS.items():
        limits = joint_limits.joint_limits(joints)
        means = packaged[part].means.reshape(-1, len(joints), 3)
        assert np.all((means > limits.low - 0.1) & (means < limits.high + 0.1)), part


def test_packaged_mixture_was_better_than_one_gaussian_on_poses_it_had_not_seen():
    from importlib import resources

    asset = resources.files("hardmo_jax").joinpath("fitting", "assets", "pose_prior.npz")
    with np.load(io.BytesIO(asset.read_bytes())) as file:
        scores = json.loads(str(file["record"]))["held_out_log_density"]
    assert set(scores) == set(PARTS)
    assert all(many > one for one, many in scores.values())


def test_without_the_asset_the_message_says_how_to_make_it(monkeypatch):
    monkeypatch.setattr(pose_mixture, "_ASSET", "absent.npz")
    pose_mixture.packaged_mixtures.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"train_prior\.py"):
            pose_mixture.packaged_mixtures()
    finally:
        pose_mixture.packaged_mixtures.cache_clear()
