"""Regressors: sizes, shapes of what goes in and comes out, and that weights are arguments of compiled code."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry import rotation_formats
from hardmo_jax.networks import regressor_output, regressors
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.backbones.vit import VitOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.flows.conditional_glow import GlowOptions
from hardmo_jax.networks.heads.iterative import IterativeHead, IterativeOptions
from hardmo_jax.networks.heads.transformer_decoder import TransformerDecoderOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.hmr2 import Hmr2Options
from hardmo_jax.networks.prohmr import ProhmrOptions

TINY = {
    "hmr": HmrOptions(backbone=ResnetOptions(blocks=(1, 1), width=4), head=IterativeOptions(features=32, hidden=16)),
    "hmr2": Hmr2Options(
        backbone=VitOptions(width=16, depth=1, heads=2, hidden=32),
        head=TransformerDecoderOptions(features=16, width=8, depth=1, heads=2, head_width=4, hidden=8),
    ),
    "prohmr": ProhmrOptions(
        backbone=ResnetOptions(blocks=(1, 1), width=4),
        flow=GlowOptions(context=32, layers=2, blocks=1, hidden=16),
        head_hidden=16,
    ),
}


def crops(regressor, count):
    side = regressor.image_size
    return np.random.default_rng(0).normal(size=(count, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("name", list(TINY))
def test_output_has_smpl_s_joints_and_proper_rotations(name):
    regressor = regressors.untrained(name, TINY[name], seed=1)
    output = regressors.regress(regressor, crops(regressor, 2))
    assert output.global_orient.shape == (2, 3, 3)
    assert output.body_pose.shape == (2, 23, 3, 3)
    assert output.betas.shape == (2, 10)
    assert output.weak_camera.shape == (2, 3)
    product = jnp.einsum("bjkl,bjml->bjkm", output.body_pose, output.body_pose)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5)


@pytest.mark.parametrize("name", list(TINY))
def test_crops_of_another_size_are_refused(name):
    regressor = regressors.untrained(name, TINY[name])
    for shape in ((1, 200, 200, 3), (1, 3, regressor.image_size, regressor.image_size), (224, 224, 3)):
        with pytest.raises(ValueError, match="must be"):
            regressor(np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", list(TINY))
def test_weights_are_arguments_and_a_second_network_compiles_nothing(name):
    one, other = (regressors.untrained(name, TINY[name], seed=seed) for seed in (0, 1))
    images = crops(one, 2)
    text = jax.jit(lambda network, x: network(x)).lower(one, images).as_text()
    largest = max(leaf.size for leaf in jax.tree.leaves(one.weights))
    assert "dense_resource" not in text
    assert largest > 100
    regressors.regress(one, images)
    before = regressors.regress._cache_size()
    regressors.regress(other, images)
    assert regressors.regress._cache_size() == before


def test_iterative_head_takes_numbers_about_the_box_and_other_bodies():
    options = IterativeOptions(features=8, box_numbers=3, hidden=6, joints=22, betas=11)
    from flax import nnx

    @jax.jit
    def answer(features, numbers):
        pose, betas, camera = IterativeHead(options, policy=ComputePolicy(), rngs=nnx.Rngs(0))(features, numbers)
        return regressor_output.output_of_rot6d(pose + jnp.arange(132.0), betas, camera, "spin")

    output = answer(jnp.ones((2, 8)), jnp.ones((2, 3)))
    assert output.body_pose.shape == (2, 21, 3, 3)
    assert output.betas.shape == (2, 11)


def test_samples_are_one_more_batch_axis():
    numbers = np.random.default_rng(0).normal(size=(2, 5, 144))

    @jax.jit
    def answer(numbers):
        given = (jnp.zeros((2, 5, 10)), jnp.zeros((2, 5, 3)))
        return regressor_output.output_of_rot6d(numbers, *given, "hmr2", log_prob=jnp.zeros((2, 5)))

    output = answer(jnp.asarray(numbers))
    assert output.body_pose.shape == (2, 5, 23, 3, 3)
    first = rotation_formats.rot6d_hmr2_to_matrix(numbers[1, 2, :6])
    np.testing.assert_allclose(output.global_orient[1, 2], first, atol=1e-6)
    picked = jax.tree.map(lambda leaf: leaf[:, 0], output)
    assert picked.log_prob.shape == (2,)


def test_unknown_layouts_policies_and_sizes_are_refused():
    with pytest.raises(ValueError, match="layout"):
        regressor_output.output_of_rot6d(jnp.zeros((1, 144)), jnp.zeros((1, 10)), jnp.zeros((1, 3)), "pytorch3d")
    with pytest.raises(ValueError, match="precision"):
        ComputePolicy(precision="exact")
    with pytest.raises(ValueError, match="numbers"):
        ComputePolicy(numbers="float8")
    with pytest.raises(ValueError, match="divide"):
        VitOptions(width=10, heads=3)
    with pytest.raises(ValueError, match="features"):
        HmrOptions(head=IterativeOptions(features=7))
    with pytest.raises(ValueError, match="tokens"):
        Hmr2Options(head=TransformerDecoderOptions(features=7))


@pytest.mark.parametrize(
    ("name", "millions"),
    [("hmr", 26.98), pytest.param("hmr2", 670.4, marks=pytest.mark.slow), ("prohmr", 51.60)],
)
def test_default_sizes_are_the_published_ones(name, millions):
    blank = regressors.blank_weights(name, regressors.ARCHITECTURES[name].options())
    leaves = regressors.named_weights(blank)
    assert sum(leaf.size for leaf in leaves.values()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", ["hmr", "hmr2", pytest.param("prohmr", marks=pytest.mark.slow)])
def test_bfloat16_leaves_heads_and_weights_as_they_are(name):
    exact = regressors.untrained(name, TINY[name], seed=2)
    coarse = dataclasses.replace(exact, policy=ComputePolicy(numbers="bfloat16"))
    images = crops(exact, 2)
    one, other = regressors.regress(exact, images), regressors.regress(coarse, images)
    assert other.body_pose.dtype == jnp.float32
    # What is summed over layers has single precision, and so have statistics of batches.
    assert jax.eval_shape(lambda network, x: network.features(x), coarse, images).dtype == jnp.float32
    assert 0 < float(jnp.abs(one.rot6d - other.rot6d).max()) < 0.2


def test_resnet_can_be_trained_through_its_pooling():
    network = regressors.untrained("hmr", TINY["hmr"])

    @jax.jit
    @jax.grad
    def slope(weights):
        module = dataclasses.replace(network, weights=weights).module()
        return jnp.sum(jnp.square(module.features(jnp.ones((1, 224, 224, 3)))))

    first = regressors.named_weights(slope(network.weights))["backbone.conv1.kernel"]
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 0
