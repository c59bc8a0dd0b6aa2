"""Recipes: settings of a training that go together, by name. Options that are given beside one win."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from massmatch.errors import UsageError

Recipe = Literal["paper", "strong"]

RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},  # the defaults of `TrainingOptions`
    # What the network in this package was trained with; docs/model_card.md has its numbers.
    "strong": {
        "loss": "soft-sm:random_phase=true",  # ahead in small networks, docs/results.md
        "width": 8,  # what a CPU trains in an hour at 256 x 256; the validation part saw no gain of twice the width
        "epochs": 28,  # in about that hour; the validation DSC did not rise any more from epoch 19 on
        "optimizer": "adamw",  # with one-cycle as in Smith and Topin 2018
        "schedule": "one-cycle",
        "learning_rate": 1e-3,  # half of the usual peak of one-cycle; not tuned
        "ema": 0.999,  # about five epochs of this cohort; in shorter trainings it costs, docs/results.md
        "augment": "strong",  # without it the validation DSC fell from epoch 8 on, while the loss went on falling
        "threshold": "validation",  # at 0.5 losses with low probabilities look blind
    },
}


def with_recipe(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a training, and those of the recipe that are not among them.

    Raises UsageError for an unknown recipe, with the nearest one.

    >>> with_recipe("strong", {"width": 4})["width"]
    4
    """
    if name not in RECIPES:
        near = get_close_matches(str(name), RECIPES, 1, cutoff=0.0)[0]
        raise UsageError(f"unknown recipe {name!r}; did you mean {near!r}? Known are {', '.join(RECIPES)}")
    return {**RECIPES[name], **options}
