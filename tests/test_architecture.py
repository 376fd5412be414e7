"""The layers of ARCHITECTURE.md, read off the syntax trees: imports point down, and heavy packages stay home."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hardmo_jax"

LAYERS = {
    "array_types": 0, "checks": 0, "missing_packages": 0, "file_locks": 0, "options": 0, "safe_pickle": 0,
    "whole_files": 0,
    "geometry": 1, "skeleton": 1, "torch_file": 1,
    "body": 2, "observations": 2, "labels": 2, "rendering": 2,
    "fitting": 3, "perception": 3, "networks": 3, "data": 3, "metrics": 3, "export": 3,
    "recovery": 4, "hardcase": 4, "training": 4, "viz": 4,
    "pipelines": 5,
}  # fmt: skip

#: Package -> folders (below hardmo_jax) that may import it. Everything else may not.
HOMES = {
    "cv2": {"perception", "rendering", "viz", "data"},
    "av": {"perception", "rendering", "viz", "data"},
    "scenedetect": {"perception"},
    "onnxruntime": {"perception"},
    "ai_edge_litert": {"perception"},
    "moderngl": {"rendering"},
    "pyarrow": {"labels", "data", "export"},
    "matplotlib": {"viz"},
    "ray": {"pipelines/runners"},
    "torch": {"perception"},
    "ultralytics": {"perception"},
    "absl": set(),
    "ml_collections": set(),
    "smplx": set(),
    "scipy": {"perception", "metrics", "data", "recovery", "training", "fitting", "hardcase", "pipelines"},
    "rich": set(),
    "yt_dlp": {"pipelines"},
    "viser": {"viz"},
}
FORBIDDEN_NAMES = re.compile(r"^(utils?|misc|common|helpers?|tmp|new_|my_|final)")


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """(imported module, is inside a function, is for the type checker only)."""
    tree = ast.parse(path.read_text())
    inside = set()
    typing_only = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside |= {id(child) for child in ast.walk(node)}
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, id(node) in inside, id(node) in typing_only


def room(module):
    """First component below the package, None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def known_modules():
    return {name_of(path) for path in modules()}


def test_imports_point_down_or_stay_in_the_room():
    wrong = []
    for path in modules():
        here = room(name_of(path))
        if here is None:
            continue
        assert here in LAYERS, f"{here} is not a room of ARCHITECTURE.md"
        for name, _, _ in imports_of(path):
            if not name.startswith("hardmo_jax."):
                continue
            there = room(name)
            if there != here and not LAYERS[there] < LAYERS[here]:
                wrong.append(f"{name_of(path)} imports {name}")
    assert not wrong, wrong


def test_there_is_no_import_cycle():
    known = known_modules()
    graph = {}
    for path in modules():
        targets = set()
        for name, inside, typing_only in imports_of(path):
            if name.startswith("hardmo_jax") and not inside and not typing_only:
                targets.add(name if name in known else name.rpartition(".")[0])
        graph[name_of(path)] = targets - {"hardmo_jax", name_of(path)}
    done, active = set(), []

    def visit(module):
        assert module not in active, f"cycle: {' -> '.join([*active, module])}"
        if module in done or module not in graph:
            return
        active.append(module)
        for target in sorted(graph[module]):
            visit(target)
        active.pop()
        done.add(module)

    for module in sorted(graph):
        visit(module)


def test_heavy_packages_are_imported_in_their_rooms_only_and_optional_ones_inside_functions():
    wrong = []
    for path in modules():
        folder = path.relative_to(PACKAGE).parent.as_posix()
        for name, inside, typing_only in imports_of(path):
            package = name.split(".")[0]
            if package not in HOMES or typing_only:
                continue
            if not any(folder == home or folder.startswith(home + "/") for home in HOMES[package]):
                wrong.append(f"{name_of(path)} imports {package}")
            if not inside and package not in ("pyarrow", "scipy"):
                wrong.append(f"{name_of(path)} imports {package} at module level")
    assert not wrong, wrong


def test_library_has_no_assert_print_or_bare_except():
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno} assert"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{path}:{node.lineno} except:"
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not is_print, f"{path}:{node.lineno} print"


def test_names_say_what_a_file_is():
    for path in [*modules(), *(ROOT / "tools").glob("*.py"), *(ROOT / "configs").glob("*.py")]:
        assert not FORBIDDEN_NAMES.match(path.stem), path
    assert not (ROOT / "body_models" / "__init__.py").exists()


def test_public_functions_are_defined_once():
    places = {}
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    # Solvers and renderers share a contract, and so a name.
    shared = {name: homes for name, homes in places.items() if len(homes) > 1 and name not in ("solve",)}
    assert not shared, shared


@pytest.mark.parametrize(
    ("statement", "banned"),
    [
        ("import hardmo_jax", "jax numpy"),
        ("import hardmo_jax as hm; hm.open_body()", "flax optax cv2 av pyarrow scipy.spatial rich absl torch"),
        ("import hardmo_jax.geometry.rotations, hardmo_jax.skeleton.mapping", "flax optax cv2 pyarrow absl"),
    ],
)
def test_importing_loads_nothing_that_is_not_needed(statement, banned):
    code = f"import sys; {statement}; print(' '.join(m for m in {banned.split()!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []
