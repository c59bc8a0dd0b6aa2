"""The wheel in a fresh environment that holds nothing but what a plain `pip install massmatch` brings."""

import re
import subprocess
import sys
import venv
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


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The Python of the environment; the distributions of this one are linked, so that nothing large is downloaded."""
    root = tmp_path_factory.mktemp("bare")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", root, ROOT]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = root.glob("massmatch-*.whl")
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
