"""HMR (SPIN) against a PyTorch stand-in from the table of its parameters: both precisions, training, mutations."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hardmo_jax.networks import regressors, torch_import
from hardmo_jax.networks.backbones import batch_norm
from tests.reference.imported_regressors import precision, regressor, relative

torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")
from tests.reference import torch_networks  # noqa: E402

#: The issue's bounds, as for HMR 2.0.
TOLERANCE_64 = 1e-9
GAPS_32 = 4
SMALL = {"blocks": (2, 1, 1, 1), "width": 8, "hidden": 48}


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(4).normal(size=(2, 224, 224, 3))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    path = tmp_path_factory.mktemp("spin") / "model_checkpoint.pt"
    torch.save({"model": torch_networks.randomise(torch_networks.Spin(**SMALL), 3).state_dict(), "epoch": 7}, path)
    return torch_import.import_checkpoint(path, "hmr")


def theirs(crops, dtype, *, sizes=SMALL):
    network = torch_networks.randomise(torch_networks.Spin(**sizes), 3).to(dtype)
    with torch.no_grad():
        found = network(torch.from_numpy(crops).to(dtype).permute(0, 3, 1, 2))
    return {name: value.numpy() for name, value in found.items()}


def ours(network, crops, dtype):
    def stages(network, images):
        output = network(images)
        return {
            "features": network.module().features(images),
            "pose": output.rot6d.reshape(len(crops), -1),
            "rotations": jnp.concatenate([output.global_orient[:, None], output.body_pose], 1),
            "betas": output.betas,
            "cam": output.weak_camera,
        }

    return jax.jit(stages)(network, jnp.asarray(crops, dtype))


def test_every_stage_equals_pytorch_in_float64(imported, crops, figure):
    reference = theirs(crops, torch.float64)
    with precision(np.float64) as dtype:
        found = ours(regressor(imported, dtype), crops, dtype)
    errors = {name: relative(found[name], value) for name, value in reference.items()}
    figure(f"HMR (small) against PyTorch in float64, relative: {max(errors.values()):.1e}")
    assert max(errors.values()) <= TOLERANCE_64, errors


def test_every_stage_in_float32_is_as_near_as_pytorch_is_to_itself(imported, crops, figure):
    reference, single = theirs(crops, torch.float64), theirs(crops, torch.float32)
    with precision(np.float32) as dtype:
        found = ours(regressor(imported, dtype), crops, dtype)
    gaps = {name: relative(found[name], value) / relative(single[name], value) for name, value in reference.items()}
    figure(f"HMR (small) in float32, distances of PyTorch's precisions: {max(gaps.values()):.2f}")
    assert max(gaps.values()) <= GAPS_32, gaps


@pytest.mark.slow
def test_full_size_equals_pytorch_in_float64(tmp_path, crops, figure):
    path = tmp_path / "model_checkpoint.pt"
    torch.save({"model": torch_networks.randomise(torch_networks.Spin(), 3).state_dict()}, path)
    whole = torch_import.import_checkpoint(path, "hmr")
    assert whole.options == regressors.ARCHITECTURES["hmr"].options()
    reference = theirs(crops, torch.float64, sizes={})
    with precision(np.float64) as dtype:
        found = ours(regressor(whole, dtype), crops, dtype)
    errors = {name: relative(found[name], value) for name, value in reference.items()}
    figure(f"HMR (ResNet-50) against PyTorch in float64, relative: {max(errors.values()):.1e}")
    assert max(errors.values()) <= TOLERANCE_64, errors


def test_stand_in_has_the_parameters_of_the_table(network_references):
    path = network_references.parent / "networks_keys" / "keys_hmr_spin.json"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    rows = next(value for value in json.loads(path.read_text()).values() if isinstance(value, list))
    table = {row["key"]: tuple(row["shape"]) for row in rows}
    assert {name: tuple(value.shape) for name, value in torch_networks.Spin().state_dict().items()} == table


def after_training_step(imported, crops):
    """Statistics that both remember of a batch, and the outputs of the batch."""
    network = torch_networks.randomise(torch_networks.Spin(**SMALL), 3).double().train()
    with torch.no_grad():
        rotations = network(torch.from_numpy(crops).permute(0, 3, 1, 2))["rotations"].numpy()
    with precision(np.float64) as dtype:
        graph, weights = nnx.split(regressor(imported, dtype).module())

        def step(weights, images):
            module = nnx.merge(graph, weights)
            return module(images, is_training=True), nnx.split(module)[1]

        output, after = jax.jit(step)(weights, jnp.asarray(crops, dtype))
        state = regressors.named_weights(after)
        errors = [relative(output.body_pose, rotations[:, 1:])]
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                path = f"backbone.{name}".replace("running_", "")
                errors.append(relative(state[path], value.numpy()))
    assert len(errors) > 10
    return max(errors)


def test_training_remembers_what_pytorch_remembers(imported, crops):
    assert after_training_step(imported, crops) <= TOLERANCE_64


def test_biased_variance_is_noticed(imported, crops, monkeypatch):
    monkeypatch.setattr(batch_norm, "_unbiased", lambda count: 1.0)
    assert after_training_step(imported, crops) > 100 * TOLERANCE_64


def test_wrong_layout_of_six_numbers_is_noticed(imported, crops):
    reference = theirs(crops, torch.float64)["rotations"]
    with precision(np.float64) as dtype:
        other = dataclasses.replace(imported.options, rot6d_layout="hmr2")
        found = ours(regressor(imported, dtype, options=other), crops, dtype)["rotations"]
    assert relative(found, reference) > 100 * TOLERANCE_64
