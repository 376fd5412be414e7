"""The examples of docs/body.md run as they stand and print what their comments say."""

import contextlib
import io
import pathlib
import re

import numpy as np
import pytest

from tests.reference import smpl_files

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "body.md").read_text()
EXAMPLES = re.findall(r"\*\*(\d+)\. .*?```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with synthetic files in the published layouts, under the names that the page uses."""
    models = tmp_path_factory.mktemp("page") / "body_models"
    smpl = smpl_files.make_model("smpl", num_vertices=smpl_files.FULL_SIZE)
    (models / "smplh" / "male").mkdir(parents=True)
    (models / "smplx").mkdir()
    smpl_files.write_python2_pickle(models / "SMPL_NEUTRAL.pkl", smpl)
    smplh = smpl_files.make_model("smplh", num_vertices=smpl_files.FULL_SIZE, num_betas=16)
    smpl_files.write_npz(models / "smplh" / "male" / "model.npz", smplh)
    smplx = smpl_files.make_model("smplx", num_vertices=smpl_files.FULL_SIZES["smplx"], num_betas=400)
    smpl_files.write_npz(models / "smplx" / "SMPLX_FEMALE.npz", smplx)
    smpl_files.write_npz(models / "smplx" / "SMPLX_NEUTRAL.npz", smplx)
    regressor = np.zeros((19, smpl_files.FULL_SIZE))
    regressor[np.arange(19), 30 * np.arange(19)] = 1
    smpl_files.write_pickle(models / "SMPL_to_J19.pkl", regressor, protocol=2)
    return models.parent


def test_there_are_ten_examples():
    assert [int(number) for number, _ in EXAMPLES] == list(range(1, 11))


@pytest.mark.parametrize(("number", "code"), EXAMPLES, ids=[number for number, _ in EXAMPLES])
def test_example_prints_what_its_comments_say(number, code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"docs/body.md, example {number}", "exec"), {})  # noqa: S102 - the page is ours
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert expected
    assert printed.getvalue().splitlines() == expected


def test_every_file_and_tool_that_the_page_names_exists():
    for tool in re.findall(r"python -m (tools\.\w+)", PAGE):
        assert (ROOT / (tool.replace(".", "/") + ".py")).exists(), tool
