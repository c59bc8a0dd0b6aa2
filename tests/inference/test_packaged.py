"""The network in the package: it is there, it describes itself, it is small, it predicts without being asked."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.data import phantoms
from massmatch.inference.batch import predict
from massmatch.inference.network import load_network
from massmatch.inference.packaged import PACKAGED
from massmatch.runs.weights import halve, load_weights, read_weights, write_weights


def test_it_describes_itself_and_where_it_comes_from():
    facts, tensors = read_weights(PACKAGED)
    assert PACKAGED.stat().st_size < 10_000_000
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {torch.float16}
    assert facts["orientation"] == "left"
    assert 0 < facts["threshold"] < 1
    assert "doi:10.7937/K9/TCIA.2016.7O02S9CY" in facts["data_licence"]
    assert "INbreast" not in json.dumps(facts)
    assert "10.7937/K9/TCIA.2016.7O02S9CY" in (PACKAGED.parent / "ATTRIBUTION.txt").read_text()


def test_it_computes_in_float32():
    model, _ = load_network(PACKAGED)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_predict_takes_it_by_default_and_says_on_what_it_was_not_tried(tmp_path):
    sample = next(phantoms(1, seed=0, size=256))
    Image.fromarray(sample.image).save(tmp_path / "a.png")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "the packaged network, trained on film scans (CBIS-DDSM) and not tried on digital mammograms" in said
    assert "for research, not for diagnosis" in said
    predict(tmp_path / "a.png", tmp_path / "named", weights=PACKAGED)
    masks = [np.asarray(Image.open(tmp_path / name / "a_mask.png")) for name in ("out", "named")]
    np.testing.assert_array_equal(*masks)


def test_half_of_the_bytes_hold_nearly_the_same_network(trained, tmp_path):
    source, half = trained / "best.safetensors", tmp_path / "half.safetensors"
    halve(source, half)
    (whole, facts), (small, same) = load_weights(source), load_weights(half)
    assert facts == same
    for (name, value), other in zip(whole.state_dict().items(), small.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, rtol=1e-3, atol=1e-7, msg=name)


def test_weights_beyond_float16_are_refused(trained, tmp_path):
    facts, tensors = read_weights(trained / "best.safetensors")
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name].flatten()[0] = 1e5
    write_weights(tmp_path / "large.safetensors", tensors, facts)
    with pytest.raises(ValueError, match="is beyond the range of float16"):
        halve(tmp_path / "large.safetensors", tmp_path / "half.safetensors")
