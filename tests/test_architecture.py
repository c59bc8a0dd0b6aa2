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
    {"reports", "explanations", "inference", "integrations"},
    {"sweeps"},
    {"training"},
    {"runs", "statistics"},
    {"losses", "metrics", "models", "data", "pictures"},
    {"errors"},
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


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom massmatch.cli import app\n"
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
