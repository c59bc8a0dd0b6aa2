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
        "loss": "hybrid",  # a little ahead of the soft loss in this network, on the validation part, docs/results.md
        "model": "lite-unet",  # with ImageNet's encoder ahead of AU-Net on the validation part, docs/results.md
        "start": "imagenet",
        "width": 16,  # its weights fit into 10 MB
        "epochs": 18,  # at 256 x 256 in an hour and a half of one core that is shared; the last one was the best
        "optimizer": "adamw",  # with one-cycle as in Smith and Topin 2018
        "schedule": "one-cycle",
        "learning_rate": 5e-4,  # half of what AU-Net had, since the encoder has learned before; not tuned
        "ema": 0.999,  # about five epochs of this cohort; in shorter trainings it costs, docs/results.md
        "augment": "strong",  # without it AU-Net's validation DSC fell from epoch 8 on, while the loss went on falling
        "threshold": "validation",  # at 0.5 losses with low probabilities look blind
    },
}


def with_recipe(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a training, and those of the recipe that are not among them.

    Where the options name another network than the recipe's, the first weights of the recipe's are left out.

    Raises UsageError for an unknown recipe, with the nearest one.

    >>> with_recipe("strong", {"width": 4})["width"]
    4
    """
    if name not in RECIPES:
        near = get_close_matches(str(name), RECIPES, 1, cutoff=0.0)[0]
        raise UsageError(f"unknown recipe {name!r}; did you mean {near!r}? Known are {', '.join(RECIPES)}")
    settings = dict(RECIPES[name])
    if options.get("model", settings.get("model")) != settings.get("model"):
        settings.pop("start", None)
    return {**settings, **options}
