"""The house stands: imports go down only, the losses can be lifted out, --help needs no torch."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import massmatch

SOURCE = Path(massmatch.__file__).parent
FLOORS = [
    {"__main__"},
    {"cli"},
    {"app"},
    {"reports", "explanations", "inference", "integrations"},
    {"sweeps"},
    {"training"},
    {"runs", "statistics", "pictures"},
    {"losses", "metrics", "models", "data"},
    {"machine", "hold"},
    {"errors", "lazy", "wording"},
]


def room(module):
    return module.split(".")[1] if "." in module else ""


def floor(name):
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def imported(path):
    package = ".".join(["massmatch", *path.relative_to(SOURCE).parts[:-1]])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
            yield ".".join([*above, *([node.module] if node.module else [])])
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                f"{node.module}.{alias.name}" if node.module == "massmatch" else node.module for alias in node.names
            )
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path):
    here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for module in imported(path):
        if module.startswith("massmatch.") and module != "massmatch.__version__":
            there = room(module)
            assert there == here or floor(there) > floor(here), f"{path.name} imports {module}"


def modules_needed(path, known):
    """The modules of ours that a file imports when it is loaded or used, but for those of type checkers."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    here = ["massmatch", *path.relative_to(SOURCE).with_suffix("").parts]
    package = here[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in known)
            if base in known and not all(name in known for name in inner):
                yield base


def test_no_module_needs_itself_through_others():
    """Each is taken away once all that it needs has been; what is left then goes round in a circle."""
    names = {path: ".".join(["massmatch", *path.relative_to(SOURCE).with_suffix("").parts]) for path in FILES}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    known = set(names.values())
    needs = {name: set(modules_needed(path, known)) - {name} for path, name in names.items()}
    assert "massmatch.data.cohort" in needs["massmatch.data.open"]
    while free := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in free:
            del needs[name]
    assert needs == {}


def test_the_losses_need_torch_numpy_and_scipy_only():
    allowed = {"torch", "numpy", "scipy", "jaxtyping", "massmatch"} | sys.stdlib_module_names
    for path in (SOURCE / "losses").rglob("*.py"):
        for module in imported(path):
            assert module.split(".")[0] in allowed, f"{path.name} imports {module}"
            assert not module.startswith("massmatch.") or module.startswith("massmatch.losses")


def test_the_losses_work_under_another_name_without_this_package(tmp_path):
    shutil.copytree(SOURCE / "losses", tmp_path / "borrowed", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys\nsys.modules['massmatch'] = None\nimport torch, borrowed.conformance.check\n"
        "x, y = torch.zeros(1, 1, 32, 32), (torch.arange(1024) % 7 == 0).reshape(1, 1, 32, 32)\n"
        "assert all(loss()(x, y).isfinite() for name, loss in borrowed.LOSSES.items() if 'asp' not in name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


HEAVY = {"torch", "numpy", "pandas", "scipy", "monai", "matplotlib"}  # seconds to import, all together


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--help"],
        ["train", "nowhere"],
        ["sweep", "nowhere"],
        ["sweep", ".", "nowhere.yaml"],
        ["status", "nowhere"],
        ["evaluate", "nowhere"],
        ["evaluate", ".", "nowhere"],
        ["predict", ".", "--run", "nowhere", "--out", "out"],
        ["predict", "nowhere", "--out", "out"],
        ["report", ".", "nowhere"],
        ["report", ".", "--cohort", "nowhere"],
        ["compare", ".", "nowhere"],
        ["explain", "nowhere", "id"],
        ["explain", "a.png", "b.png", "c.png", "--loss", "dice"],
        ["prepare", "folder", "nowhere", "out"],
        ["check", "nowhere"],
        ["export-nnunet", "nowhere", "out"],
    ],
    ids=" ".join,
)
def test_help_and_a_mistyped_path_are_answered_before_anything_heavy_is_imported(arguments, tmp_path):
    """Modules are counted and no time is taken, which would depend on the machine."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom massmatch.cli import app\n"
        f"done = CliRunner().invoke(app, {arguments})\n"
        f"assert done.exit_code == {0 if '--help' in arguments else 2}, done.output\n"
        f"assert '--help' in {arguments} or 'no such ' in done.output, done.output\n"
        f"assert not {HEAVY} & set(sys.modules), {HEAVY} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_losses_import_little_beside_torch():
    """Neither PyTorch's compiler, which takes longer than torch itself, nor the parts of SciPy before they are used."""
    code = (
        "import sys, torch\nbefore = set(sys.modules)\nimport massmatch.losses\nnew = set(sys.modules) - before\n"
        "assert not {'torch._dynamo', 'scipy.ndimage', 'scipy.cluster', 'pandas', 'monai'} & new, new\n"
        "assert not [name for name in new if name.startswith('torch')]\nassert len(new) < 80, len(new)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROOMS = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("room", ROOMS)
def test_public_docstrings_are_sentences(room):
    """At least 28 characters and a mark at the end: shorter ones were riddles, such as "In all."."""
    for path in (SOURCE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                said = (ast.get_docstring(node) or "." * 28).partition("\n\n")[0].strip()
                assert len(said) >= 28, f"{path.name}: {node.name} says {said!r}"
                assert said[-1] in ".:?", f"{path.name}: {node.name} says {said!r}"
