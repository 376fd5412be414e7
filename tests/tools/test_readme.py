"""What the README says is true: its commands exist and its code runs, the body example with three packages only."""

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_tool_and_file_that_is_named_exists():
    for tool in re.findall(r"python -m (tools\.\w+)", README):
        assert (ROOT / (tool.replace(".", "/") + ".py")).exists(), tool
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"--config=(\S+)", README):
        assert (ROOT / path.partition(":")[0]).exists(), path


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", ["README.md", "docs/perception.md", "docs/networks.md", "docs/training.md"])
def test_config_flags_that_are_named_exist(document):
    from configs import collect, loop, normal, render, train_hmr

    homes = {("fetch.", "sites."): collect, ("network.", "run.", "step.", "objective."): train_hmr}
    homes[("people", "side", "poses", "takes", "sampled_feet", "keypoints", "clothes")] = render
    homes[("rounds", "annotate.", "hand.", "foot.", "train.", "goes_on_training", "least_labels")] = loop
    for key in re.findall(r"--config\.([\w.]+)=", (ROOT / document).read_text()):
        config = next((home for starts, home in homes.items() if key.startswith(starts)), normal)
        section = config.get_config()
        for name in key.split("."):
            assert name in section, key
            section = section[name]


def test_fit_example_runs_and_converges():
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[1]], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CONVERGED"), done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed in this environment")
    command = [uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return uv, next(folder.glob("*.whl"))


def test_wheel_holds_the_library_and_the_body_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel[1]).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"hardmo_jax", next(top for top in tops if top.endswith(".dist-info"))}
    assert "hardmo_jax/body/assets/open_body.npz" in names
    page = {path.name for path in (ROOT / "hardmo_jax" / "viz" / "assets").iterdir()}
    assert {f"hardmo_jax/viz/assets/{name}" for name in page} <= set(names)


def test_body_example_runs_with_jax_numpy_and_jaxtyping_only(wheel, tmp_path):
    uv, path = wheel
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "-p", str(python)]
    subprocess.run([*install, "jax", "numpy", "jaxtyping"], check=True)
    subprocess.run([*install, "--no-deps", str(path)], check=True)
    done = subprocess.run(
        [python, "-c", blocks("python")[0]], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["(8, 13380, 3) (8, 52, 3)", "(8, 5, 3)"]
