"""Recipes: known fields, options that are given win, and the strong one is that of the packaged network."""

import pytest
import yaml
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.errors import UsageError
from massmatch.inference.packaged import PACKAGED
from massmatch.runs.experiment import Experiment, experiment_on
from massmatch.runs.options import TrainingOptions
from massmatch.runs.recipes import RECIPES, with_recipe
from massmatch.runs.weights import read_weights
from massmatch.training.entry import train


def test_an_unknown_recipe_is_refused_with_the_nearest_one(cohort, tmp_path):
    with pytest.raises(UsageError, match="unknown recipe 'strnog'; did you mean 'strong'"):
        train(cohort, recipe="strnog", out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_an_experiment_that_can_be(name, cohort):
    assert RECIPES[name].keys() <= TrainingOptions.__annotations__.keys()
    experiment = experiment_on(cohort, **RECIPES[name])
    assert {field: getattr(experiment, field) for field in RECIPES[name]} == RECIPES[name]


def test_the_papers_changes_nothing(cohort):
    assert experiment_on(cohort, **RECIPES["paper"]) == experiment_on(cohort)


def test_the_strong_one_is_what_the_packaged_network_was_trained_with():
    facts, _ = read_weights(PACKAGED)
    packaged = Experiment(**facts["experiment"])
    free = {"cohort", "fingerprint", "precision", "memory", "threads"}  # these say where it was trained, not how
    asked = Experiment(cohort="", fingerprint="", **RECIPES["strong"])
    assert packaged.model_dump(exclude=free) == asked.model_dump(exclude=free)


def test_options_that_are_given_win(cohort, tmp_path):
    given = ("--width", "2", "--epochs", "1", "--scheme", "split", "--threads", "1", "--precision", "float32")
    done = CliRunner().invoke(
        app,
        ["train", str(cohort.root), "--recipe", "strong", *given, "--memory", "contiguous", "--out", str(tmp_path)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    (found,) = tmp_path.glob("*/fold0/experiment.yaml")
    facts = yaml.safe_load(found.read_text())
    assert (facts["width"], facts["epochs"]) == (2, 1)
    assert (facts["optimizer"], facts["schedule"]) == ("adamw", "one-cycle")
    assert facts["learning_rate"] == RECIPES["strong"]["learning_rate"]


def test_another_network_than_the_recipes_does_not_start_with_the_weights_of_the_recipes():
    assert with_recipe("strong", {})["start"] == RECIPES["strong"]["start"]
    assert "start" not in with_recipe("strong", {"model": "aunet"})
    assert with_recipe("strong", {"model": "aunet", "start": "w.safetensors"})["start"] == "w.safetensors"
