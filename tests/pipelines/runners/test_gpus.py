import pytest

from hardmo_jax.pipelines.runners.gpus import gpu_environment, visible_gpus


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-ab, 3"}, ["GPU-ab", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, ["2"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"JAX_PLATFORMS": "cpu"}, []),
    ],
)
def test_gpus_are_those_that_the_process_may_use(tmp_path, environment, expected):
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert visible_gpus(environment, tmp_path) == expected


def test_without_a_driver_there_are_none(tmp_path):
    assert visible_gpus({}, tmp_path / "absent") == []
    assert gpu_environment(0, 2, []) == {}


def test_processes_are_spread_and_share_the_memory_of_a_gpu():
    each = [gpu_environment(number, 3, ["4", "7"]) for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in each] == ["4", "7", "4"]
    assert [one.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for one in each] == ["0.45", None, "0.45"]
