"""The networks suite: forward passes of regressors against PyTorch, memory of a conversion, and fine-tuning.

PyTorch runs stand-ins of the published networks (`tests/reference/torch_networks.py`) with the same random weights and
crops, in the same process and in turns, so that both see the same machine.
"""

import functools
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks import finetune

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
#: Crops of one call by network, and repetitions.
_CROPS = {
    "hmr2": (1, 4),
    "hmr": (1, 8),
    "cliff": (1, 8),
    "cliff_hr48": (1, 4),
    "bedlam_cliff": (1, 4),
    "prohmr": (1, 8),
}
_REPEATS = 5
#: Of the SMPL model that a checkpoint of 4DHumans carries: names and shapes.
_BODY = {
    "shapedirs": (6890, 3, 10), "v_template": (6890, 3), "J_regressor": (24, 6890), "posedirs": (207, 20670),
    "lbs_weights": (6890, 24), "joint_regressor_extra": (19, 6890),
}  # fmt: skip


def plan() -> list[dict[str, Any]]:
    """Cells: forward passes of every network, and the conversion of the largest one."""
    forward = [{"measure": "forward", "model": model, "all_cores": True} for model in _CROPS]
    return [
        *forward,
        {"measure": "conversion", "model": "hmr2", "all_cores": True},
        {"measure": "finetune", "model": "hmr", "all_cores": True},
    ]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    del models
    if cell["measure"] == "finetune":
        return finetune.finetune_rows()
    return _conversion() if cell["measure"] == "conversion" else _forward(cell["model"])


def _forward(model: str) -> list[dict[str, object]]:
    """Crops a second of both, in turns."""
    import jax
    import jax.numpy as jnp
    import torch

    from hardmo_jax.geometry.crop_cameras import CropBox
    from hardmo_jax.networks import crop_context, regressors

    theirs = _torch_network(model)
    ask = functools.partial(_mode, theirs) if model == "prohmr" else theirs
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "weights.pt"
        torch.save({"state_dict": theirs.state_dict()}, path)
        ours = _converted(path, model.removesuffix("_hr48"))
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for count in _CROPS[model]:
        crops = rng.normal(size=(count, *ours.crop_shape, 3)).astype(np.float32)
        images, context, tensors = jnp.asarray(crops), None, [torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())]
        if ours.sees_picture:
            box = CropBox(center=np.full((count, 2), 400, np.float32), size=np.full(count, 300, np.float32))
            context = crop_context.diagonal_context(box, np.full((count, 2), 1000, np.float32))
            told = (box.center, box.size, context.image_size, context.focal_length)
            tensors += [torch.from_numpy(np.array(one)) for one in told]
        with torch.inference_mode():
            found = jax.block_until_ready(regressors.regress(ours, images, context))
            wanted = ask(*tensors)["rotations"][:, 1:]
            calls: tuple[Callable[[], object], ...] = (
                lambda images=images, told=context: jax.block_until_ready(regressors.regress(ours, images, told)),
                lambda tensors=tensors: ask(*tensors),
            )
            seconds: tuple[list[float], list[float]] = ([], [])
            for _ in range(_REPEATS):
                for call, times in zip(calls, seconds, strict=True):
                    start = time.perf_counter()
                    call()
                    times.append(time.perf_counter() - start)
        rows.append(
            {
                "measure": "forward", "model": model, "crops": count,
                "ours_crops_a_second": count / statistics.median(seconds[0]),
                "torch_crops_a_second": count / statistics.median(seconds[1]),
                "ours_over_torch": statistics.median(b / a for a, b in zip(*seconds, strict=True)),
                "worst_difference_of_rotations": float(np.abs(np.asarray(found.body_pose) - wanted.numpy()).max()),
                "torch": torch.__version__, "torch_threads": torch.get_num_threads(),
            }
        )  # fmt: skip
    return rows


def _mode(network: Any, images: Any) -> dict[str, Any]:
    """The most likely pose by ProHMR in PyTorch, without its density, which the stand-in's own call takes as well."""
    import torch

    from tests.reference import torch_networks

    features = network.backbone(images)
    pose = network.flow.flow.inverse(torch.zeros(len(images), 144), features)
    network.flow.fc_head.layers(features)
    rotations = torch_networks.orthonormalised(pose.reshape(-1, 2, 3).transpose(1, 2))
    return {"rotations": rotations.reshape(len(images), 24, 3, 3)}


def _torch_network(model: str) -> Any:
    from tests.reference import torch_hrnets, torch_networks, torch_prohmr

    if model == "prohmr":
        return torch_prohmr.randomised(0).eval()

    make: dict[str, Callable[[], Any]] = {
        "hmr": torch_networks.Spin,
        "hmr2": torch_networks.Hmr2,
        "cliff": torch_hrnets.Cliff,
        "cliff_hr48": lambda: torch_hrnets.Cliff(torch_hrnets.ClassifyingHrnet()),
        "bedlam_cliff": torch_hrnets.BedlamCliff,
    }
    return torch_networks.randomise(make[model](), 0)


def _converted(path: pathlib.Path, model: str) -> Any:
    """A network of a checkpoint, without a folder between."""
    from hardmo_jax.networks import regressors, torch_import

    imported = torch_import.import_checkpoint(path, model)
    return regressors.with_arrays(model, imported.options, imported.weights)


def _conversion() -> list[dict[str, object]]:
    """Peak memory and time of `tools.convert_checkpoint` on a ViT-H of random weights, and of loading what it makes."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "epoch.ckpt", pathlib.Path(folder) / "hmr2"
        # In a process of its own: this one's memory must not count.
        _peak([sys.executable, "-c", _WRITE, str(source)])
        size = source.stat().st_size
        before, _ = _peak([sys.executable, "-c", "import jax, orbax.checkpoint"])
        convert = [
            sys.executable, "-m", "tools.convert_checkpoint", "--model=hmr2", f"--in={source}", f"--out={target}"
        ]  # fmt: skip
        load = f"from hardmo_jax.networks import regressor_file; regressor_file.load_converted({str(target)!r})"
        for measure, command in (("conversion", convert), ("loading", [sys.executable, "-c", load])):
            peak, seconds = _peak(command)
            rows.append(
                {
                    "measure": measure, "model": "hmr2", "file_gb": size / 1e9, "peak_gb": peak / 1e9,
                    "peak_over_file": peak / size, "imports_gb": before / 1e9, "seconds": seconds,
                }
            )  # fmt: skip
    return rows


#: Run with the name of the file to write.
_WRITE = f"""
import sys, torch
from tools.benchmarks import networks
weights = dict(networks._torch_network("hmr2").state_dict())
weights |= {{f"smpl.{{name}}": torch.zeros(shape) for name, shape in {_BODY!r}.items()}}
torch.save({{"epoch": 35, "state_dict": weights, "hyper_parameters": {{}}}}, sys.argv[1])
"""


def _peak(command: list[str]) -> tuple[float, float]:
    """Largest resident memory of a program, bytes, and the seconds it took.

    Raises:
        RuntimeError: If it fails.
    """
    # A process between, whose only child is the program: the largest of all children is what the system remembers.
    watch = (
        "import resource, subprocess, sys\n"
        "status = subprocess.run(sys.argv[1:], stdout=sys.stderr, check=False).returncode\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(status)\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", watch, *command], capture_output=True, text=True, cwd=_ROOT, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return 1024.0 * int(done.stdout.split()[-1]), seconds
