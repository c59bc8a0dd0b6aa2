"""The wheel in a fresh environment that holds nothing but what a plain `pip install massmatch` brings."""

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from licences import brought

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.long

USE = """
import torch
from massmatch.losses import SoftMatchingLoss, SpatialMatchingLoss
from massmatch.metrics import image_metrics
from massmatch.models import MODELS

target = torch.zeros(1, 1, 64, 64)
target[..., 20:30, 20:40] = 1
logits = MODELS["aunet"](width=2)(target)
for loss in (SpatialMatchingLoss(scale=True), SoftMatchingLoss(random_phase=True)):
    loss(logits, target).backward(retain_graph=True)
print(image_metrics(target[0, 0].numpy() > 0, target[0, 0].numpy() > 0)["dsc"])
"""


def pip_wheel(source, out):
    """The wheel that pip makes of a folder or an archive of the source."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = out.glob("massmatch-*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return pip_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """The Python of the environment; the distributions of this one are linked, so that nothing large is downloaded."""
    root = tmp_path_factory.mktemp("bare")
    venv.create(root / "env", with_pip=False)
    (site,) = (root / "env/lib").glob("python*/site-packages")
    for each in brought():
        for entry in {path.parts[0] for path in each.files or [] if path.parts[0] != ".."}:
            if not (site / entry).exists():
                (site / entry).symlink_to(each.locate_file(entry))
    install = [sys.executable, "-m", "pip", "--python", root / "env/bin/python", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, wheel], check=True, capture_output=True, text=True)
    return root / "env/bin/python"


def ran(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd="/")


def test_losses_metrics_and_networks_work(bare):
    done = ran(bare, "-c", USE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1.0\n"


def test_the_commands_are_there_and_name_the_extra_that_they_need(bare):
    massmatch = bare.parent / "massmatch"
    assert "soft-sm" in ran(massmatch, "losses").stdout
    for command, extra in (("report", "report"), ("train", "train"), ("check", "data")):
        done = ran(massmatch, command, ".")  # a folder that is there: a mistyped one is told before
        assert done.returncode == 2
        assert re.fullmatch(rf"massmatch: .* pip install 'massmatch\[{extra}\]'", " ".join(done.stderr.split()))


def test_the_wheel_holds_its_pages_and_types(bare):
    (package,) = bare.parents[1].glob("lib/python*/site-packages/massmatch")
    assert (package / "py.typed").is_file()
    there = {path.relative_to(ROOT / "src/massmatch") for path in (ROOT / "src/massmatch").rglob("*.*")}
    assert {path for path in there if path.suffix != ".pyc"} <= {p.relative_to(package) for p in package.rglob("*.*")}


def test_the_source_archive_gives_the_same_wheel_and_holds_tests_pages_and_examples(wheel, tmp_path):
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *backend], check=True)
    subprocess.run([python, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "dist"], check=True, cwd=ROOT)
    (archive,) = (tmp_path / "dist").iterdir()
    again = pip_wheel(archive, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {name: one.read(name) for name in one.namelist()} == {n: other.read(n) for n in other.namelist()}
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert names - {"PKG-INFO"} <= set(tracked)  # nothing that lies about: no environment, data or run
    assert {"LICENSE", "Makefile", "tests/test_cli.py", "docs/index.md", "examples/plain_loop.py"} <= names
