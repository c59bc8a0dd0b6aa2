"""Recipes: settings of a training that go together, by name. Options that are given beside one win."""

from typing import Any, Literal

Recipe = Literal["paper", "strong"]

RECIPES: dict[Recipe, dict[str, Any]] = {
    "paper": {},  # the defaults of `TrainingOptions`
    # What the network in this package was trained with; docs/model_card.md has its numbers.
    "strong": {
        "loss": "soft-sm:random_phase=true",  # ahead in small networks, docs/results.md
        "width": 8,  # what a CPU trains in an hour at 256 x 256
        "epochs": 12,  # so many passed in that hour
        "optimizer": "adamw",  # with one-cycle as in Smith and Topin 2018
        "schedule": "one-cycle",
        "learning_rate": 5e-4,  # a quarter of the usual peak of one-cycle, for longer trainings; not tuned
        "augment": "strong",  # without it the validation DSC fell from epoch 8 on, while the loss went on falling
        "threshold": "validation",  # at 0.5 losses with low probabilities look blind
    },
}
