"""The model card says what was measured, and a run is packaged by one command."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from massmatch.data import split
from massmatch.inference.network import load_network
from massmatch.runs.folder import RunFolder
from massmatch.statistics.intervals import estimate
from massmatch.training.evaluate import evaluate

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def packaged(trained, cohort, tmp_path, monkeypatch):
    """The script's functions, and where they put things."""
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.setattr(sys, "argv", ["package_weights.py"])
    script = runpy.run_path(str(DOCS / "package_weights.py"))
    places = {
        "PACKAGED": tmp_path / "w.safetensors",
        "EXAMPLES": tmp_path / "examples",
        "CARDS": (tmp_path / "card.md",),
    }
    script["main"].__globals__.update(places)
    script["main"](RunFolder(trained), cohort)
    return script, places


def test_a_run_is_packaged_with_its_numbers_and_examples(packaged, cohort):
    _, places = packaged
    card, test = places["CARDS"][0].read_text(), split(cohort.table, cohort.mass_fraction, scheme="split").test
    model, facts = load_network(places["PACKAGED"])
    rows = evaluate(model, cohort, test, facts["threshold"]).rows
    for metric in ("dsc", "dsc_pooled", "missed"):
        found = estimate(rows, metric)
        assert f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]" in card
    assert f"{rows['pieces_false_iou20'].mean():.2f}" in card
    assert f"{100 * rows['masses_found'].sum() / rows['masses'].sum():.1f} %" in card.split("**In short**")[1][:200]
    assert all(patient in card for patient in rows["patient"])
    assert facts["data_licence"] in card
    chosen = pd.read_csv(places["EXAMPLES"] / "examples.csv")
    assert set(chosen["id"]) <= set(test)
    assert np.asarray(Image.open(places["EXAMPLES"] / "images" / f"{chosen['id'][0]}.png")).shape == (64, 64)


def test_examples_are_the_best_the_median_and_the_worst(packaged):
    script, _ = packaged
    rows = pd.DataFrame({"id": list("edcba"), "dsc": [0.0, 0.9, 0.0, 0.5, 0.9]})
    chosen = script["examples_of"](rows)
    assert chosen.to_numpy().tolist() == [["a", "best"], ["b", "median"], ["c", "worst"]]
