"""People spread over devices, and fits in several threads at once: the same results, and no hanging."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from tests.fitting import synthetic_people

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Parameters, metres and radians: every device runs the same program on the same rows.
TOLERANCE = 1e-6
#: Programs that wait for each other wait for ever; a whole run takes a tenth of this.
SECONDS_UNTIL_HUNG = 300
COUNT = 8

_ON_EIGHT_DEVICES = """
import dataclasses, sys
import jax, numpy as np
import hardmo_jax as hm
from tests.fitting import synthetic_people

jax.config.update("jax_compilation_cache_dir", sys.argv[1] or None)
devices = jax.devices()
assert len(devices) == 8, devices
body = hm.open_body(view="smpl")
people = synthetic_people.draw(body, "coco17", count=16, seed=3)
bent = dataclasses.replace(people.params, body_pose=people.params.body_pose + 0.1)
# Two people in two slots a piece, wherever it is solved: the same program on one device and on eight. Every device
# compiles its own; a given start saves the programs of the others.
options = hm.FitOptions(max_batch=2, slots=2)
given = {"options": options, "initial": bent}
one = hm.fit(body, people.observe("3d"), devices=devices[:1], **given)
all_of_them = hm.fit(body, people.observe("3d"), devices=devices, **given)
for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(all_of_them), strict=True):
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
differences = [
    np.abs(np.asarray(a) - np.asarray(b)).max()
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(all_of_them.params), strict=True)
]
assert (np.asarray(one.status) == np.asarray(all_of_them.status)).all()
print(max(differences))
"""


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(figure):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", _ON_EIGHT_DEVICES, jax.config.jax_compilation_cache_dir or ""],
        env={**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS_UNTIL_HUNG,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    difference = float(done.stdout)
    figure(f"devices         parameters of 8 devices and of 1 differ by {difference:.1e}")
    assert difference <= TOLERANCE


@pytest.fixture(scope="module")
def people():
    return synthetic_people.draw(hm.open_body(view="smpl"), "smpl24", count=COUNT, seed=3)


@pytest.fixture(scope="module")
def whole(people):
    return hm.fit(people.body, people.observe("3d"))


def params_of(result) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result.params)]


def test_two_threads_fit_at_the_same_time_and_agree(people, whole):
    observed = people.observe("3d")
    alone = params_of(whole)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(hm.fit, people.body, observed) for _ in range(4)]
        done, waiting = concurrent.futures.wait(fits, timeout=SECONDS_UNTIL_HUNG)
    assert not waiting, "a fit hangs"
    for fitted in done:
        for ours, theirs in zip(params_of(fitted.result()), alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_more_pieces_than_devices_give_the_people_in_their_order(people, whole):
    observed = people.observe("3d")
    cut = hm.fit(people.body, observed, options=hm.FitOptions(max_batch=3), devices=jax.devices()[:1])
    np.testing.assert_array_equal(cut.status, whole.status)
    # Another program, whose sums run in another order; people are metres apart.
    distance = synthetic_people.joint_errors(people.body, cut.params, whole.params)
    assert distance.max() < 1e-3
