"""The loop with its real jobs but one: a few rendered people go once round, and the truth is the truth.

Hands and feet are refined by a job that does nothing, as scoring them takes as long as all the rest; the real one is in
`tests/tools/test_refine.py`, and in the smoke run of `tests/tools/test_loop.py`.
"""

import json
import pathlib

import numpy as np
import pytest

from configs import loop as config
from hardmo_jax.labels import store
from hardmo_jax.networks import regressor_file
from hardmo_jax.pipelines import loop, loop_truth
from hardmo_jax.pipelines.loop_options import LoopOptions
from hardmo_jax.pipelines.loop_stages import LoopJobs
from hardmo_jax.pipelines.output_folders import LOCK
from tests.pipelines.loop_of_fakes import Fakes, body
from tools import _cli

#: As short as a round can be.
SHORT = {
    "rounds": 1, "people": 4, "least_labels": 2, "render.side": 256, "train.run.steps": 2, "train.run.batch_size": 2,
    "train.run.report_every": 1, "train.run.checkpoint_every": 1, "train.run.validate_every": 2,
    "train.validation_share": 0.4, "hand.close_ups.most": 1, "foot.close_ups.most": 1,
}  # fmt: skip


def options():
    found = config.get_config("smoke")
    found.update_from_flattened_dict(SHORT)
    return _cli.build_options(LoopOptions, found)


@pytest.fixture(scope="module")
def gone_round(perception_models, tmp_path_factory):
    """Folder of a loop, and what it and a second one say."""
    folder = tmp_path_factory.mktemp("loop")
    nowhere = pathlib.Path("nowhere")
    jobs = LoopJobs(refine=Fakes([]).refine)
    cache = folder / "cache"
    done, again = (
        loop.run_loop(options(), folder / "loop", model_folder=perception_models, mocap=nowhere, cache=cache, jobs=jobs)
        for _ in range(2)
    )
    return folder / "loop", done, again


def test_people_go_once_round(gone_round):
    folder, done, again = gone_round
    assert not done.is_nothing_to_do
    assert again.is_nothing_to_do
    assert {path.name for path in folder.iterdir()} == {
        "rendered", "store", "round_1", "round_2", "loop.json", "table.txt", "table.json", LOCK,
    }  # fmt: skip
    steps = [json.loads(line)["step"] for line in (folder / "round_1" / "train" / "scalars.jsonl").open()]
    assert sorted(set(steps)) == [1, 2]
    network, _ = regressor_file.load_converted(done.network, "hmr")
    assert network.name == "hmr"
    record = json.loads((folder / "round_2" / "annotate" / "run.json").read_text())
    assert record["config"]["initialise"]["checkpoint"].endswith("round_1/train/network")
    first, last = done.table.numbers
    for stage in ("score_annotated", "score_refined", "score_network"):
        scalars = first[stage]["scalars"]
        for part in ("body", "hand", "foot"):
            assert np.isfinite([scalars[f"{metric}_{part}_mm"] for metric in ("mpjpe", "pa_mpjpe")]).all()
            assert 0 <= scalars[f"pck05_{part}"] <= 1
    assert first["score_refined"]["scalars"]["pck05_body"] > 0.6
    assert first["train"]["scalars"]["held_out_mpjpe_body_mm"] > 0
    assert first["merge"]["new"] == first["merge"]["labels"] >= 3
    assert last["merge"]["new"] == 0, "the same people are found again"


def test_true_labels_have_no_error_against_the_truth(gone_round):
    truth = store.read_labels(gone_round[0] / "rendered" / "labels.parquet").rows
    scored = loop_truth.score_labels_on_truth(truth, body(), truth)
    assert scored.num_missing == 0
    assert max(value for name, value in scored.means.items() if "mpjpe" in name) < 1e-6
    assert all(hits == (1.0, 1.0) for hits in scored.pck.values())
    one_less = loop_truth.score_labels_on_truth(truth[1:], body(), truth)
    assert one_less.num_missing == 1
