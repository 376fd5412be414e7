"""Two processes that train together, as two machines would: the same losses and weights on both."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.tools.command_line import ROOT

_PROCESS = """
import json, pathlib, sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from tests.training.test_regressor_run import run
from tests.training.training_samples import MadeLoader
losses = []
folder = pathlib.Path(sys.argv[3])
trained = run(folder, steps=4, on_report=lambda told: losses.append(told.means["loss"]), loader=MadeLoader(1))
weights = float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(trained.weights)))
print(json.dumps({"devices": jax.device_count(), "losses": losses, "weights": weights}))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, address, str(number), str(tmp_path)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    told = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told[0][1][-3000:]
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in told)
    assert first["devices"] == 2
    assert len(first["losses"]) == 4
    assert first == second
