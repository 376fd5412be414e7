"""The body suite: mesh, joints and keypoint gradients of this package and its peers, pair by pair.

Every figure comes from a process of its own, pinned to one core, with at most three contestants in it: more of them
disturb each other's caches. The package is imported with jax and numpy only.
"""

import dataclasses
import pathlib

import numpy as np

from tools.benchmarks import contestants, timing

PEERS = tuple(name for name in contestants.CONTESTANTS if name != contestants.OURS)
MEASURES = ("mesh", "joints", "keypoint_gradient")
BATCHES = (1, 32, 256)
#: Nominal arithmetic of one posed mesh: blend shapes, dense skinning, and applying the blended matrices.
MESH_FLOP = 2 * 217 * 3 * 6890 + 2 * 6890 * 24 * 12 + 6890 * 18
_GEMM_SIZE = 2048
#: Results of peers and of this package agree within this share of the largest value.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One process: a measure at one batch size, for some contestants."""

    measure: str
    batch: int
    names: tuple[str, ...]


def plan(names: tuple[str, ...], batches: tuple[int, ...]) -> list[Cell]:
    """This package against each peer alone, so that every ratio is of a pair in one process."""
    ours = contestants.OURS
    pairs = [(ours, name) for name in names if name != ours] or [(ours,)]
    return [Cell(measure=m, batch=b, names=pair) for m in MEASURES for b in batches for pair in pairs]


def run(cell: Cell, models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell; one row a contestant, and one of the processor's matrix product for the mesh.

    Raises:
        ValueError: If a contestant gives another result than the first.
    """
    inputs = contestants.draw_inputs(cell.batch)
    calls, results = {}, {}
    for name in cell.names:
        contestant = contestants.CONTESTANTS[name](models)
        extra = ()
        if cell.measure == "keypoint_gradient":
            rng = np.random.default_rng(1)
            extra = (rng.normal(0, 100, (cell.batch, 45, 2)).astype(np.float32),)
        calls[name] = getattr(contestant, cell.measure)(inputs, *extra)
    if cell.measure == "mesh":
        calls["matrix product"] = _matrix_product()
    times = timing.interleave(calls)
    for name in cell.names:
        results[name] = _first_array(calls[name]())
    _compare(cell, results)
    rows = []
    for name, taken in times.items():
        row = {
            "measure": cell.measure,
            "batch": cell.batch,
            "name": name,
            "against": [other for other in cell.names if other != name],
            "first_call_seconds": taken.first,
            "median_seconds": taken.median,
            "least_seconds": taken.least,
            "ours_faster": timing.ratio(taken, times[contestants.OURS]),
        }
        if name == "matrix product":
            row["gflops"] = 2 * _GEMM_SIZE**3 / taken.least / 1e9
        elif cell.measure == "mesh":
            row["gflops"] = MESH_FLOP * cell.batch / taken.least / 1e9
        rows.append(row)
    return rows


def _matrix_product() -> contestants.Call:
    """What one core can do at best, in the same process."""
    import jax
    import jax.numpy as jnp

    matrix = jnp.asarray(np.random.default_rng(0).random((_GEMM_SIZE, _GEMM_SIZE)), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    return lambda: jax.block_until_ready(product(matrix))


def _first_array(result: object) -> np.ndarray:
    """The vertices or joints, or the gradient by the pose."""
    if isinstance(result, tuple):
        gradients = result[1]
        result = gradients[0] if isinstance(gradients, tuple | list) else gradients
    return np.asarray(result)


def _compare(cell: Cell, results: dict[str, np.ndarray]) -> None:
    reference = results[cell.names[0]]
    for name, result in results.items():
        error = np.abs(result.reshape(reference.shape) - reference).max() / np.abs(reference).max()
        if not error < TOLERANCE:
            raise ValueError(f"{cell.measure}, batch {cell.batch}: {name} differs from {cell.names[0]} by {error:.1e}")
