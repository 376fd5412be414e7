"""`python -m tools.render` as a user runs it, on real motion capture where there is some."""

from tests.pipelines.test_prepare import cut
from tests.tools.command_line import ROOT, run_each

#: Short takes of every style: all of the motion capture is retargeted to no other end, for minutes.
TAKES = ("martial/03", "indian/04", "salsa/01")


def test_people_are_rendered_and_what_to_do_with_them_is_said(tmp_path, reference_data):
    for take in TAKES:
        place = f"mocap/cmu_bvh_30fps/{take}.bvh"
        cut(reference_data / place, tmp_path / "data" / place)
    config = f"--config={ROOT / 'configs' / 'render.py'}:smoke"
    some = ["--config.people=3", "--config.side=64"]
    done, missing = run_each(
        "render",
        [
            [config, *some, f"--output_dir={tmp_path / 'made'}"],
            [config, "--config.poses=mocap", "--mocap=nowhere", f"--output_dir={tmp_path / 'other'}"],
        ],
        cwd=tmp_path,
        environment={"HARDMO_DATA": str(tmp_path / "data")},
    )
    assert done.returncode == 0, done.stderr
    assert "3 people in poses of motion capture" in done.stdout
    assert "python -m tools.train" in done.stdout
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "labels.parquet", "photos", "rendered.json", "sheet.jpg",
    ]  # fmt: skip
    assert missing.returncode == 2
    assert "holds no motion capture" in missing.stderr
