"""Losses of HMR 2.0, its discriminator, and gradients through the whole network, against PyTorch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hardmo_jax import torch_file
from hardmo_jax.geometry import crop_cameras, rotations
from hardmo_jax.networks import torch_import
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.training import hmr2_loss
from hardmo_jax.training.hmr2_loss import Hmr2Target
from tests.reference import smpl_of_checkpoint
from tests.reference.imported_regressors import discriminator, in_our_order, precision, regressor, relative

#: The issue's bound, relative, in float64.
TOLERANCE = 1e-6
#: The reference's gradients were computed in float32 (all are numbers of that type); this is their rounding.
TOLERANCE_OF_FLOAT32 = 2e-6
TERMS = ("keypoints_2d", "keypoints_3d", "global_orient", "body_pose", "betas")


@pytest.fixture(scope="module")
def reference(network_references):
    with np.load(network_references / "hmr2_small_seed1.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def imported(network_references):
    return torch_import.import_checkpoint(network_references / "hmr2_small_seed1.ckpt", "hmr2")


@pytest.fixture(scope="module")
def smpl(network_references):
    """The placeholder body that the checkpoint carries in place of the licensed one."""
    path = network_references / "hmr2_small_seed1.ckpt"
    with torch_file.TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice="", max_bytes=1 << 30) as file:
        tensors = file.root["state_dict"]
        names = [name for name in tensors if name.startswith("smpl.")]
        arrays = {name[5:]: file.array(tensors[name], max_values=1 << 28) for name in names}
    return {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def target_of(reference):
    given = {name[4:]: jnp.asarray(value) for name, value in reference.items() if name.startswith("inp/")}
    turned = rotations.axis_angle_to_matrix(
        jnp.concatenate([given["smpl_params/global_orient"], given["smpl_params/body_pose"]], 1)
        .astype(jnp.float64)
        .reshape(2, 24, 3)
    )
    return Hmr2Target(
        keypoints_2d=given["keypoints_2d"][..., :2],
        confidence_2d=given["keypoints_2d"][..., 2],
        keypoints_3d=given["keypoints_3d"][..., :3],
        confidence_3d=given["keypoints_3d"][..., 3],
        global_orient=turned[:, 0],
        body_pose=turned[:, 1:],
        betas=given["smpl_params/betas"],
        has_global_orient=given["has_smpl_params/global_orient"],
        has_body_pose=given["has_smpl_params/body_pose"],
        has_betas=given["has_smpl_params/betas"],
    )


@pytest.fixture(scope="module")
def step(reference, imported, smpl):
    """Everything of one step of training in float64: values, and gradients of network and discriminator."""
    with precision(np.float64) as dtype:
        arrays = {name: jnp.asarray(array) if array.dtype.kind == "f" else array for name, array in smpl.items()}
        network = regressor(imported, dtype)
        graph, judge = discriminator(imported, dtype)
        images = jnp.asarray(reference["inp/img"].transpose(0, 2, 3, 1), dtype)
        target = target_of(reference)

        def loss(weights, judge):
            output = dataclasses.replace(network, weights=weights)(images)
            vertices, points = smpl_of_checkpoint.mesh_and_keypoints(
                jnp, arrays, output.global_orient, output.body_pose, output.betas
            )
            transl = crop_cameras.crop_transl(output.weak_camera, crop_size=256)
            in_crop = crop_cameras.project_to_crop(points, transl, crop_size=256)
            terms = hmr2_loss.hmr2_terms(output, in_crop, points, target)
            judged = nnx.merge(graph, judge)(output.body_pose, output.betas)
            seen = {"vertices": vertices, "points": points, "in_crop": in_crop, "judged": judged, "terms": terms}
            whole = {**terms, "adversarial": hmr2_loss.adversarial_term(judged)}
            return hmr2_loss.weighted_sum(whole), {**seen, "adversarial": whole["adversarial"]}

        compiled = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        (total, seen), gradients = compiled(network.weights, judge)
        return {"total": total, **seen, "gradients": gradients}


def test_bodies_of_the_network_are_where_pytorch_has_them(step, reference):
    # The reference holds these in float32 alone; every 53rd vertex.
    assert relative(step["points"], reference["out/pred_keypoints_3d"]) < TOLERANCE
    assert relative(step["in_crop"], reference["out/pred_keypoints_2d"]) < TOLERANCE
    assert relative(step["vertices"][:, ::53], reference["out/pred_vertices_sub"]) < TOLERANCE


@pytest.mark.parametrize("term", TERMS)
def test_term_equals_pytorch(step, reference, term):
    assert relative(step["terms"][term], reference[f"out/losses/loss_{term}"]) < TOLERANCE


def test_discriminator_and_sums_equal_pytorch(step, reference):
    assert relative(step["judged"], reference["out/disc_out"]) < TOLERANCE
    assert relative(step["adversarial"], reference["out/loss_adv"]) < TOLERANCE
    assert relative(step["total"], reference["out/loss_total"]) < TOLERANCE
    with precision(np.float64):
        assert relative(hmr2_loss.weighted_sum(step["terms"]), reference["out/losses/loss"]) < TOLERANCE


def compared(step, theirs):
    """Relative difference of gradients by name."""
    network, judge = step["gradients"]
    errors = {}
    for name, value in theirs.items():
        _, ours, other = in_our_order(name, value, judge if name.startswith("discriminator.") else network)
        errors[name] = relative(ours, other)
    return errors


def test_gradients_equal_those_of_the_reference(step, reference, figure):
    theirs = {name[10:].replace("|", "."): value for name, value in reference.items() if name.startswith("out/grads/")}
    assert all((value.astype(np.float32) == value).all() for value in theirs.values())
    errors = compared(step, theirs)
    figure(f"HMR 2.0 (small), gradients against the reference (of float32), relative: {max(errors.values()):.1e}")
    assert len(errors) == 143
    assert max(errors.values()) < TOLERANCE_OF_FLOAT32, errors


def test_gradients_equal_those_of_pytorch_in_float64(step, reference, network_references, smpl, figure):
    torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")
    from tests.reference import torch_networks

    sizes = torch_networks.Sizes(
        width=80, depth=3, heads=5, token=64, decoder_depth=2, decoder_heads=3, head_width=16, hidden=96
    )
    network, judge = torch_networks.Hmr2(sizes).double(), torch_networks.Discriminator().double()
    path = network_references / "hmr2_small_seed1.ckpt"
    with torch_file.TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice="", max_bytes=1 << 30) as file:
        tensors = {
            name: torch.from_numpy(file.array(value, max_values=1 << 28))
            for name, value in file.root["state_dict"].items()
            if not name.startswith("smpl.") and name != "initialized"
        }
    part = "discriminator."
    judge.load_state_dict({name[len(part) :]: value for name, value in tensors.items() if name.startswith(part)})
    network.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(part)})
    with precision(np.float64):
        target = jax.tree.map(lambda leaf: torch.from_numpy(np.array(leaf, np.float64)), target_of(reference))
    output = network(torch.from_numpy(reference["inp/img"]).double())
    root, pose, betas, camera = (
        output["rotations"][:, 0], output["rotations"][:, 1:], output["betas"], output["cam"],
    )  # fmt: skip
    arrays = {name: torch.from_numpy(array.copy()) for name, array in smpl.items()}
    _, points = smpl_of_checkpoint.mesh_and_keypoints(torch, arrays, root, pose, betas)
    depth = 2 * 5000 / (256 * camera[:, 0] + 1e-9)
    moved = points + torch.stack([camera[:, 1], camera[:, 2], depth], 1)[:, None]
    in_crop = moved[..., :2] / moved[..., 2:] * (5000 / 256)
    spread, true_spread = points - points[:, 39:40], target.keypoints_3d - target.keypoints_3d[:, 39:40]
    known = target.has_body_pose[:, None, None]
    loss = (
        0.01 * (target.confidence_2d[..., None] * (in_crop - target.keypoints_2d).abs()).sum()
        + 0.05 * (target.confidence_3d[..., None] * (spread - true_spread).abs()).sum()
        + 0.001 * (known * (root - target.global_orient) ** 2).sum()
        + 0.001 * (known[..., None] * (pose - target.body_pose) ** 2).sum()
        + 0.0005 * (target.has_betas[:, None] * (betas - target.betas) ** 2).sum()
        + 0.0005 * ((judge(pose, betas) - 1) ** 2).sum() / 2
    )
    loss.backward()
    theirs = {name: value.grad for name, value in network.named_parameters()}
    theirs |= {f"discriminator.{name}": value.grad for name, value in judge.named_parameters()}
    errors = compared(step, theirs)
    figure(
        f"HMR 2.0 (small), gradients of {len(errors)} tensors against PyTorch in float64: {max(errors.values()):.1e}"
    )
    assert len(errors) == 146
    assert max(errors.values()) < TOLERANCE, errors
    assert relative(step["total"], loss.detach().numpy()) < TOLERANCE


def some_output():
    return RegressorOutput(
        global_orient=jnp.zeros((2, 3, 3)),
        body_pose=jnp.zeros((2, 23, 3, 3)),
        betas=jnp.full((2, 10), 9.0),
        weak_camera=jnp.zeros((2, 3)),
    )


def test_terms_are_summed_over_the_batch_and_the_adversarial_one_is_not(reference):
    with precision(np.float64):
        target, output = target_of(reference), some_output()
        once = hmr2_loss.hmr2_terms(output, target.keypoints_2d + 1, 2 * target.keypoints_3d, target)
        target, output = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), (target, output))
        twice = hmr2_loss.hmr2_terms(output, target.keypoints_2d + 1, 2 * target.keypoints_3d, target)
        for name, value in once.items():
            assert value > 0
            np.testing.assert_allclose(twice[name], 2 * value, rtol=1e-5)
        judged = jnp.asarray(reference["out/disc_out"], jnp.float64)
        doubled = jnp.concatenate([judged, judged])
        np.testing.assert_allclose(hmr2_loss.adversarial_term(doubled), hmr2_loss.adversarial_term(judged))


def test_real_bodies_count_double_where_there_are_twice_as_many():
    judged, real = jnp.zeros((2, 25)), jnp.zeros((4, 25))
    options = hmr2_loss.Hmr2LossOptions()
    np.testing.assert_allclose(hmr2_loss.discriminator_loss(judged, real), options.adversarial * 2 * 25, rtol=1e-6)
    np.testing.assert_allclose(hmr2_loss.discriminator_loss(judged + 1, real + 1), options.adversarial * 25, rtol=1e-6)


def test_unknown_parameters_count_nothing(reference):
    with precision(np.float64):
        target = target_of(reference)
        nobody = dataclasses.replace(
            target, has_global_orient=jnp.zeros(2), has_body_pose=jnp.zeros(2), has_betas=jnp.zeros(2)
        )
        terms = hmr2_loss.hmr2_terms(some_output(), nobody.keypoints_2d, nobody.keypoints_3d, nobody)
        assert float(hmr2_loss.weighted_sum(terms)) == 0
