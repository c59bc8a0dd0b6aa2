"""The house stands: imports go down only, the losses can be lifted out, --help needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import massmatch

SOURCE = Path(massmatch.__file__).parent
FLOORS = [
    {"__main__"},
    {"cli"},
    {"reporting", "inference", "integrations"},
    {"training"},
    {"losses", "metrics", "models", "data"},
]


def room(module):
    return module.split(".")[1] if "." in module else ""


def floor(name):
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
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
        if module.startswith("massmatch."):
            there = room(module)
            assert there == here or floor(there) > floor(here), f"{path.name} imports {module}"


def test_the_losses_need_torch_numpy_and_scipy_only():
    allowed = {"torch", "numpy", "scipy", "jaxtyping", "massmatch"} | sys.stdlib_module_names
    for path in (SOURCE / "losses").glob("*.py"):
        for module in imported(path):
            assert module.split(".")[0] in allowed, f"{path.name} imports {module}"
            assert not module.startswith("massmatch.") or module.startswith("massmatch.losses")


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom massmatch.cli import app\n"
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
