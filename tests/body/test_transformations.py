"""Body models as values of JAX: jit, vmap, sharding over devices, export, float64."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from tests.reference import smpl_files

REPOSITORY = Path(__file__).resolve().parents[2]
#: The issue's bound on an exported forward pass: model arrays are arguments, so the program alone is stored.
MOST_EXPORTED_BYTES = 1_000_000
TOLERANCE_32 = 1e-6


def run_alone(program, *arguments, **environment):
    """Output of a program in a process of its own, without the run-time type checks of the tests.

    JAX rebuilds dataclasses around placeholders when it lowers and exports, which those checks refuse.
    """
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def random_params(body, rng, batch):
    rest = hm.BodyParams.rest(body, batch=batch)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, leaf.dtype), rest)


_EXPORT = """
import sys
import jax, jax.numpy as jnp, numpy as np
import hardmo_jax as hm
from hardmo_jax.body import exporting

exporting.register_for_export()
exporting.register_for_export()
rng = np.random.default_rng(0)
for path in sys.argv[1:]:
    body = hm.load_body(path)
    rest = hm.BodyParams.rest(body, batch=(2,))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, leaf.dtype), rest)
    forward = jax.jit(lambda model, p: model(p))
    data = bytes(jax.export.export(forward)(body, params).serialize())
    again = jax.export.deserialize(bytearray(data)).call(body, params)
    np.testing.assert_allclose(again.vertices, forward(body, params).vertices, atol=1e-6)
    print(body.family, body.num_vertices, len(data))
"""


def test_exported_forward_is_small_and_gives_the_same(tmp_path, figure):
    files = []
    for family in smpl_files.FAMILIES:
        columns = 20 if family == "smplx" else 10
        model = smpl_files.make_model(family, num_vertices=smpl_files.FULL_SIZES[family], num_betas=columns)
        files.append(smpl_files.write_npz(tmp_path / f"{family}.npz", model))
    lines = run_alone(_EXPORT, *files).splitlines()
    assert len(lines) == len(files)
    for line in lines:
        family, num_vertices, size = line.split()
        figure(f"export          {family:10s} forward of {num_vertices} vertices: {size} bytes (bound 1,000,000)")
        assert int(size) < MOST_EXPORTED_BYTES


def test_vmap_over_bodies_and_parameters_equals_single_calls(rng):
    body = hm.open_body(view="smpl")
    params = random_params(body, rng, (3,))
    shapes = jnp.asarray(rng.normal(size=(3, body.num_betas)), jnp.float32)
    bodies = jax.vmap(body.shaped)(shapes)
    posed = jax.jit(jax.vmap(lambda model, p: model(p)))(bodies, params.without_shape())
    expected = body(dataclasses.replace(params, betas=shapes))
    np.testing.assert_allclose(posed.vertices, expected.vertices, atol=TOLERANCE_32)


def test_forward_mode_of_the_jitted_body(rng):
    body = hm.open_body(view="smpl")
    params = random_params(body, rng, ())
    tangent = jax.tree.map(jnp.ones_like, params)
    _, change = jax.jit(lambda p, t: jax.jvp(lambda q: body(q).joints, (p,), (t,)))(params, tangent)
    moved = dataclasses.replace(jax.tree.map(jnp.zeros_like, tangent), transl=tangent.transl)
    _, shift = jax.jvp(lambda q: body(q).joints, (params,), (moved,))
    assert np.isfinite(change).all()
    np.testing.assert_allclose(shift, np.ones_like(shift), atol=1e-6)


_EIGHT_DEVICES = """
import functools
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import hardmo_jax as hm

assert len(jax.devices()) == 8
body = hm.open_body(view="smpl")
rng = np.random.default_rng(0)
rest = hm.BodyParams.rest(body, batch=(16,))
params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, leaf.dtype), rest)
expected = np.asarray(body(params).vertices)
mesh = Mesh(np.array(jax.devices()), ("people",))

by_person = NamedSharding(mesh, P("people"))
everywhere = NamedSharding(mesh, P())
placed = jax.device_put(params, by_person)
model = jax.device_put(body, everywhere)
output = jax.jit(lambda m, p: m(p))(model, placed)
assert len(output.vertices.sharding.device_set) == 8, output.vertices.sharding
assert output.vertices.sharding.is_equivalent_to(by_person, 3), output.vertices.sharding
np.testing.assert_allclose(output.vertices, expected, atol=1e-6)

mapped = jax.jit(jax.shard_map(lambda m, p: m(p), mesh=mesh, in_specs=(P(), P("people")), out_specs=P("people")))
np.testing.assert_allclose(mapped(model, placed).vertices, expected, atol=1e-6)

gradient = jax.jit(jax.grad(lambda p, m: jnp.sum(m(p).vertices ** 2)))(placed, model)
reference = jax.jit(jax.grad(lambda p, m: jnp.sum(m(p).vertices ** 2)))(params, body)
for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(reference)):
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-2)

each = [jax.device_put(body, device) for device in jax.devices()]
for device, one in zip(jax.devices(), each):
    alone = one(jax.device_put(jax.tree.map(lambda leaf: leaf[:1], params), device))
    assert alone.vertices.devices() == {device}
    np.testing.assert_allclose(alone.vertices, expected[:1], atol=1e-6)
print("eight devices agree")
"""


@pytest.mark.slow
def test_eight_simulated_devices_agree_with_one():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    assert "eight devices agree" in run_alone(_EIGHT_DEVICES, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")


def test_float64_body_computes_in_float64(rng):
    with jax.enable_x64(True):
        body = hm.open_body(dtype=np.float64)
        output = body(random_params(body, rng, (2,)))
        assert output.vertices.dtype == output.joints.dtype == np.float64
