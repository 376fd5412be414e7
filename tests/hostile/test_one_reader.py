"""Nothing in the tree unpickles but `hardmo_jax.safe_pickle`, read off the syntax trees."""

import ast

import pytest

from tests.conftest import ROOT

READER = ROOT / "hardmo_jax/safe_pickle"
FOLDERS = ("hardmo_jax", "tools", "body_models", "configs")
#: Packages that make objects of what a file says. Where something of one is imported that only writes, it is listed.
UNPICKLERS = frozenset((
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "hickle",
    "klepto", "pandas", "webdataset", "yaml", "ruamel", "h5py", "keras", "tensorflow", "imp", "runpy", "xmlrpc",
))  # fmt: skip
WRITES_ONLY = {
    "hardmo_jax/export/training_sets/sample_tars.py": {"pickle.Pickler"},
    "tools/benchmarks/contestants.py": {"pickle.dumps"},
}
#: Names of functions that read objects, whatever they are called on.
READS = frozenset((
    "read_pickle", "unsafe_load", "full_load", "load_module", "_load_from_bytes", "find_class", "unpack_archive",
    "load_state_dict_from_url", "extractall", "Unpickler",
))  # fmt: skip
#: Those of torch.
READS_OF_TORCH = frozenset(["load", "jit", "hub", "package", "serialization"])
RUNS_TEXT = frozenset(("eval", "exec", "compile", "__import__", "execfile"))


def sources():
    return sorted(
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts
    )


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def findings(tree: ast.Module, allowed: set[str]) -> list[str]:
    """What in a module could make objects of a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                package = alias.name.split(".")[0]
                if package in UNPICKLERS and not any(name.startswith(f"{package}.") for name in allowed):
                    found.append(f"{node.lineno}: import {alias.name}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            found += [
                f"{node.lineno}: from {node.module} import {alias.name}"
                for alias in node.names
                if f"{node.module}.{alias.name}" not in allowed
            ]
        elif isinstance(node, ast.Attribute):
            full = dotted(node)
            package, _, name = full.partition(".")
            if package in UNPICKLERS and full not in allowed:
                found.append(f"{node.lineno}: {full}")
            if node.attr in READS:
                found.append(f"{node.lineno}: .{node.attr}")
            if package == "torch" and name.split(".")[0] in READS_OF_TORCH:
                found.append(f"{node.lineno}: {full}")
        elif isinstance(node, ast.Call):
            found += bad_call(node)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{node.value.lineno}: allow_pickle={ast.unparse(node.value)}")
    return found


def bad_call(node: ast.Call) -> list[str]:
    called = dotted(node.func)
    if isinstance(node.func, ast.Name) and called in RUNS_TEXT:
        return [f"{node.lineno}: {called}()"]
    # NumPy refuses pickles by default; here it is said, so that nobody has to know.
    says_no = any(keyword.arg == "allow_pickle" for keyword in node.keywords)
    if called in ("np.load", "numpy.load") and not says_no:
        return [f"{node.lineno}: {called} without allow_pickle=False"]
    return []


def test_nothing_else_unpickles_or_runs_text():
    wrong = []
    for path in sources():
        place = path.relative_to(ROOT).as_posix()
        wrong += [f"{place}:{what}" for what in findings(ast.parse(path.read_text()), WRITES_ONLY.get(place, set()))]
    assert not wrong, "\n".join(wrong)


def test_what_only_writes_is_still_there():
    for place, names in WRITES_ONLY.items():
        text = (ROOT / place).read_text()
        assert all(name.split(".")[1] in text for name in names), place


def test_insides_of_the_reader_are_its_own():
    """Its machines have no public name: whoever needs another kind of pickle adds a function to the package."""
    wrong = []
    for path in sources():
        text = path.read_text()
        if READER in path.parents or "safe_pickle" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [dotted(node)]
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if "safe_pickle._" in name]
    assert not wrong, wrong


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(data)",
        "from pickle import load",
        "import _pickle as p",
        "import dill",
        "from cloudpickle import loads",
        "import joblib",
        "import shelve",
        "from marshal import loads",
        "import numpy as np\nnp.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=is_trusted)",
        "read(path, allow_pickle=1)",
        "torch.load(path, weights_only=True)",
        "torch.jit.load(path)",
        "torch.hub.load(name)",
        "import pandas",
        "frames.read_pickle(path)",
        "import webdataset as wds",
        "import yaml",
        "loader.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "tar.extractall(folder)",
    ],
)
def test_each_way_to_unpickle_is_found(text):
    assert findings(ast.parse(text), set())


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "re.compile('x')",
        "safe_pickle.loads(data)",
        "lowered.compile()",
        "json.loads(text)",
    ],
)
def test_what_is_harmless_is_not_found(text):
    assert findings(ast.parse(text), set()) == []
