"""`python -m tools.demo` as `make demo` runs it: labels of the packaged clip, repaired, against the truth."""

import os
import pathlib
import re
import subprocess
import sys

from hardmo_jax.labels import store

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_demo_repairs_hands_and_feet(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo", f"--output_dir={tmp_path / 'demo'}"],
        capture_output=True, text=True, cwd=ROOT, timeout=560, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"(hands|feet) +(all|repaired) +(\d+) +([\d.]+) mm +([\d.]+) mm", done.stdout)
    table = {row[:2]: (int(row[2]), float(row[3]), float(row[4])) for row in rows}
    assert set(table) == {(part, which) for part in ("hands", "feet") for which in ("all", "repaired")}
    for part, least in (("hands", 300), ("feet", 80)):
        count, before, after = table[part, "repaired"]
        assert count >= least
        assert after < 0.55 * before, "the truth says that they were repaired"
        assert table[part, "all"][2] < 0.9 * table[part, "all"][1]
    folder = tmp_path / "demo"
    assert {"two_dancers.mp4", "two_dancers_truth.npz", "annotate", "refine_hand", "refine_foot"} <= {
        path.name for path in folder.iterdir()
    }
    assert list((folder / "refine_hand" / "closeups").glob("*.png"))
    rows = store.read_labels(folder / "annotate" / "labels.parquet").rows
    assert any(row.label_version > 1 for row in rows)
    assert rows[0].error_by_part["left_hand"] is not None, "errors are told of what weighed nothing, too"
    assert rows[0].evidence_by_part["left_hand"] == "unseen"
