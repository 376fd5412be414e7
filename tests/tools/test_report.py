"""`python -m tools.report` as a user runs it."""

from hardmo_jax.labels import store
from tests.labels.test_schema import make_row
from tests.tools.command_line import run_each


def test_the_tool_says_where_the_page_is_and_what_is_wrong(tmp_path):
    store.write_labels(tmp_path / "run" / "labels.parquet", [make_row()])
    labels = f"--labels={tmp_path / 'run'}"
    done, absent, lost = run_each(
        "report",
        [[str(tmp_path / "run")], [f"--labels={tmp_path / 'none'}"], [labels, f"--pictures={tmp_path / 'nowhere'}"]],
    )
    assert done.returncode == 0, done.stderr
    assert "1 labels, 0 close-ups, 0." in done.stdout
    assert f" MB: {tmp_path / 'run' / 'report.html'}\n" in done.stdout
    for other, message in ((absent, "no such label file"), (lost, "no such folder of pictures")):
        assert other.returncode == 2
        assert message in other.stderr
        assert "Traceback" not in other.stderr
