"""ProHMR against a PyTorch stand-in from the table of its parameters: both precisions, both ways, mutations."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hardmo_jax.networks import regressors, torch_import
from hardmo_jax.networks.backbones import batch_norm
from hardmo_jax.networks.flows import conditional_glow
from tests.reference.imported_regressors import precision, regressor, relative

torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")
from tests.reference import torch_prohmr  # noqa: E402

#: The issue's bounds.
TOLERANCE_64 = 1e-9
GAPS_32 = 4
ROUND_TRIP = {np.float64: 1e-12, np.float32: 1e-5}
SMALL = {"blocks": (2, 1, 1, 1), "width": 8, "hidden": 48, "layers": 3}
SAMPLES = 3


@pytest.fixture(scope="module")
def given():
    """Crops, and noise whose first sample is the mode."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2, SAMPLES, 144))
    noise[:, 0] = 0
    return rng.normal(size=(2, 224, 224, 3)), noise


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    path = tmp_path_factory.mktemp("prohmr") / "checkpoint.pt"
    torch.save({"state_dict": torch_prohmr.randomised(3, **SMALL).state_dict(), "epoch": 7}, path)
    return torch_import.import_checkpoint(path, "prohmr")


def theirs(given, dtype, *, sizes=SMALL):
    network = torch_prohmr.randomised(3, **sizes).to(dtype)
    images, noise = (torch.from_numpy(array).to(dtype) for array in given)
    with torch.no_grad():
        found = network(images.permute(0, 3, 1, 2), noise)
    return {name: value.numpy() for name, value in found.items()}


def ours(network, given, dtype):
    images, noise = (jnp.asarray(array, dtype) for array in given)

    def stages(network, images, noise):
        module = network.module()
        features = module.features(images)
        output = module.from_noise(features, noise)
        pose = output.rot6d.reshape(noise.shape)
        return {
            "features": features,
            "pose": pose,
            "rotations": jnp.concatenate([output.global_orient[..., None, :, :], output.body_pose], -3),
            "betas": output.betas,
            "cam": output.weak_camera,
            "noise": module.flow.forward(pose, features[:, None])[0],
            "log_prob": output.log_prob,
        }, module.flow.log_prob(pose, features[:, None])

    found, log_prob = jax.jit(stages)(network, images, noise)
    # From noise the density is known without running the flow; both must agree.
    assert relative(found["log_prob"], log_prob) < 1e3 * np.finfo(dtype).eps
    return found


def worst(imported, given, **changed):
    """Largest relative difference of all stages in float64."""
    reference = theirs(given, torch.float64)
    with precision(np.float64) as dtype:
        found = ours(regressor(imported, dtype, **changed), given, dtype)
    return max(relative(found[name], value) for name, value in reference.items())


def test_every_stage_equals_pytorch_in_float64(imported, given, figure):
    error = worst(imported, given)
    figure(f"ProHMR (small) against PyTorch in float64, relative: {error:.1e}")
    assert error <= TOLERANCE_64


def test_every_stage_in_float32_is_as_near_as_pytorch_is_to_itself(imported, given, figure):
    reference, single = theirs(given, torch.float64), theirs(given, torch.float32)
    with precision(np.float32) as dtype:
        found = ours(regressor(imported, dtype), given, dtype)
    gaps = {name: relative(found[name], value) / relative(single[name], value) for name, value in reference.items()}
    figure(f"ProHMR (small) in float32, distances of PyTorch's precisions: {max(gaps.values()):.2f}")
    assert max(gaps.values()) <= GAPS_32, gaps


@pytest.mark.slow
def test_full_size_equals_pytorch_in_float64(tmp_path, given, figure):
    path = tmp_path / "checkpoint.pt"
    torch.save({"state_dict": torch_prohmr.randomised(3).state_dict()}, path)
    whole = torch_import.import_checkpoint(path, "prohmr")
    assert whole.options == regressors.ARCHITECTURES["prohmr"].options()
    reference = theirs(given, torch.float64, sizes={})
    with precision(np.float64) as dtype:
        found = ours(regressor(whole, dtype), given, dtype)
    errors = {name: relative(found[name], value) for name, value in reference.items()}
    figure(f"ProHMR (ResNet-50) against PyTorch in float64, relative: {max(errors.values()):.1e}")
    assert max(errors.values()) <= TOLERANCE_64, errors
    single = theirs(given, torch.float32, sizes={})
    with precision(np.float32) as dtype:
        found = ours(regressor(whole, dtype), given, dtype)
    gaps = {name: relative(found[name], value) / relative(single[name], value) for name, value in reference.items()}
    figure(f"ProHMR (ResNet-50) in float32, distances of PyTorch's precisions: {max(gaps.values()):.2f}")
    assert max(gaps.values()) <= GAPS_32, gaps


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_flow_is_its_own_inverse(imported, kind, figure):
    rng = np.random.default_rng(5)
    with precision(kind) as dtype:
        flow = regressor(imported, dtype).module().flow
        context = jnp.asarray(np.abs(rng.normal(size=(16, 256))), dtype)
        poses = jnp.asarray(rng.normal(size=(16, 144)), dtype)
        there, _ = flow.forward(poses, context)
        error = relative(flow.inverse(there, context), poses)
        back = relative(flow.forward(flow.inverse(poses, context), context)[0], poses)
    figure(f"inverse(forward(x)), forward(inverse(x)) in {np.dtype(kind)}, relative: {error:.1e}, {back:.1e}")
    assert max(error, back) <= ROUND_TRIP[kind]


def test_stand_in_has_the_parameters_of_the_table(network_references):
    path = network_references.parent / "networks_keys" / "keys_prohmr.json"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    rows = next(value for value in json.loads(path.read_text()).values() if isinstance(value, list))
    table = {row["key"]: tuple(row["shape"]) for row in rows if row["kind"] == "model"}
    assert {name: tuple(value.shape) for name, value in torch_prohmr.Prohmr().state_dict().items()} == table


def after_training_step(imported):
    """Statistics that both remember of a batch of labels, and their densities."""
    rng = np.random.default_rng(6)
    poses, context = rng.normal(size=(12, 144)), np.abs(rng.normal(size=(12, 256)))
    network = torch_prohmr.randomised(3, **SMALL).double().train()
    with torch.no_grad():
        expected = network.flow.flow.forward(torch.from_numpy(poses), torch.from_numpy(context))[1].numpy()
    with precision(np.float64) as dtype:
        module = regressor(imported, dtype).module()
        found = module.flow.log_prob(jnp.asarray(poses, dtype), jnp.asarray(context, dtype), is_training=True)
        state = regressors.named_weights(nnx.split(module)[1])
        errors = [relative(found, expected)]
        for name, value in network.state_dict().items():
            if name.startswith("flow.") and name.endswith(("running_mean", "running_var")):
                path = name.replace("flow.flow._transform._transforms", "flow.transforms").replace("running_", "")
                path = path.replace("transform_net", "net").replace("batch_norm_layers", "norms")
                errors.append(relative(state[path], value.numpy()))
    assert len(errors) == 1 + 2 * 3 * 2 * 2
    return max(errors)


def test_training_remembers_what_pytorch_remembers(imported):
    assert after_training_step(imported) <= TOLERANCE_64


def test_biased_variance_is_noticed(imported, monkeypatch):
    monkeypatch.setattr(batch_norm, "_unbiased", lambda count: 1.0)
    assert after_training_step(imported) > 100 * TOLERANCE_64


def test_wrong_layout_of_six_numbers_is_noticed(imported, given):
    other = dataclasses.replace(imported.options, rot6d_layout="spin")
    assert worst(imported, given, options=other) > 100 * TOLERANCE_64


def test_swapped_order_of_the_flow_is_noticed(imported, given):
    """The parts of the first layer in place of those of the second, and the other way round."""
    swap = {"0": "3", "1": "4", "2": "5", "3": "0", "4": "1", "5": "2"}
    weights = {}
    for path, value in imported.weights.items():
        parts = path.split(".")
        if parts[:2] == ["flow", "transforms"]:
            parts[2] = swap.get(parts[2], parts[2])
        weights[".".join(parts)] = value
    assert worst(imported, given, weights=weights) > 100 * TOLERANCE_64


def test_parts_in_the_other_order_are_noticed(imported, given, monkeypatch):
    """U L in place of L U, and halves that do not come from the file."""
    triangles = conditional_glow.LuLinear.triangles
    monkeypatch.setattr(conditional_glow.LuLinear, "triangles", lambda self: triangles(self)[::-1])
    reference = theirs(given, torch.float64)["noise"]
    with precision(np.float64) as dtype:
        flow = regressor(imported, dtype).module().flow
        pose = jnp.asarray(theirs(given, torch.float64)["pose"], dtype)
        features = jnp.asarray(theirs(given, torch.float64)["features"], dtype)[:, None]
        noise = flow.forward(pose, features)[0]
    assert relative(noise, reference) > 100 * TOLERANCE_64


def test_places_come_from_the_file(imported, given):
    weights = dict(imported.weights)
    for path in list(weights):
        if path.endswith("identity_features"):
            other = path.replace("identity", "transform")
            weights[path], weights[other] = weights[other], weights[path]
    assert worst(imported, given, weights=weights) > 100 * TOLERANCE_64


def test_floor_of_the_diagonal_is_noticed(imported, given, monkeypatch):
    monkeypatch.setattr(conditional_glow, "_LEAST_DIAGONAL", 0.0)
    assert worst(imported, given) > 100 * TOLERANCE_64
