"""The network in the package: it is there, it describes itself, it is small, it predicts without being asked."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.data import phantoms
from massmatch.inference import packaged
from massmatch.inference.batch import predict
from massmatch.inference.network import load_network
from massmatch.inference.packaged import EXAMPLES, PACKAGED, show_packaged
from massmatch.runs.weights import halve, load_weights, read_weights, write_weights

CARD = (Path(__file__).parents[2] / "docs/model_card.md").read_text(encoding="utf-8")


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


def test_the_examples_are_of_women_whom_the_network_has_not_learned_from_and_are_small(tmp_path):
    shown = show_packaged(tmp_path / "shown")
    assert [each.kind for each in shown] == ["best", "median", "worst"]
    assert shown[0].dsc >= shown[1].dsc >= shown[2].dsc
    assert all(np.asarray(Image.open(each.picture)).shape == (512, 512, 3) for each in shown)
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*.*")) < 300_000
    women = CARD.split("patients</summary>")[1].split("</details>")[0].replace(",", " ").split()
    assert all(any(f"_{woman}_" in each.id for woman in women) for each in shown)


def test_the_card_is_of_this_file():
    assert hashlib.sha256(PACKAGED.read_bytes()).hexdigest() in CARD
    assert packaged.CARD.read_text(encoding="utf-8") == CARD
    assert "For research, not for diagnosis." in CARD
    assert f"{load_weights(PACKAGED)[1]['threshold']:.4f}" in CARD
