"""What is trained, on what, how: one value that names its own folder."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from torch import nn

from massmatch.data import Cohort, Split, split
from massmatch.errors import UsageError, refusals_as_usage
from massmatch.losses import LossSpec, in_one_spelling, make_loss
from massmatch.losses.origin import origin
from massmatch.runs.network import refuse_model
from massmatch.runs.options import TrainingOptions
from massmatch.runs.start import settled

MAX_NAME = 240  # bytes; file systems take 255
PEAK = {"constant": 1e-4, "one-cycle": 2e-3}  # section 4.1; what a width-8 AU-Net learned fastest with
# The fields of version 0.1: all of them count in a run's name. A later option counts where it is not at its default, so
# that runs keep their names when an option is added.
# fmt: off
FIRST = {
    "cohort", "fingerprint", "loss", "model", "width", "scheme", "folds", "seed", "epochs", "batch_size", "optimizer",
    "schedule", "learning_rate", "precision", "memory", "threads", "threshold",
}
# fmt: on


class Experiment(BaseModel, TrainingOptions):
    """One network trained with one loss; with a fold, one run. Further fields and their defaults: `TrainingOptions`.

    Raises pydantic's ValidationError for a value that cannot be; `experiment_on` says the same in our words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: str  # folder name
    fingerprint: str  # of the cohort's images and masks
    start_sha256: str | None = None  # of the file of weights that `start` names
    own_code: str | None = None  # version and source digest of a loss or network of one's own, module:attribute

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, fields: Any) -> Any:
        """Add what follows from others: the learning rate from the schedule, `own_code`, and the digest of `start`."""
        if not isinstance(fields, dict):
            return fields
        known = {name: of.default for name, of in cls.model_fields.items()} | fields
        rate = {"learning_rate": PEAK.get(known["schedule"])} if "learning_rate" not in fields else {}
        code = {"own_code": own_code(known["loss"], known["model"])} if "own_code" not in fields else {}
        start = settled(known["start"]) if "start" in fields and "start_sha256" not in fields else {}
        return {**fields, **{name: value for name, value in (rate | code | start).items() if value is not None}}

    @field_validator("loss", "model")
    @classmethod
    def spelt_in_one_way(cls, text: str) -> str:
        """One loss, or network, makes one run, however its options are ordered and spelt."""
        return in_one_spelling(text)

    @field_validator("patience")
    @classmethod
    def not_with_one_cycle(cls, patience: int, info: ValidationInfo) -> int:
        """Refuse to end a training early whose last epochs, at a falling learning rate, gain most."""
        if patience and info.data.get("schedule") == "one-cycle":
            raise ValueError("must be 0 with schedule one-cycle, whose last epochs gain most")
        return patience

    @property
    def digest(self) -> str:
        """8 hex digits over all fields that matter. One that is not in FIRST counts where it is used."""
        first = FIRST | {name for name, of in type(self).model_fields.items() if getattr(self, name) != of.default}
        fields = self.model_dump(include=first)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def folder(self, runs: Path, fold: int) -> Path:
        """Where the run of one fold lives. It is never hidden, even if its cohort is: nothing would find it."""
        loss, model = (text.replace(":", "+").replace("/", "-") for text in (self.loss, self.model))
        before, after = f"{self.cohort.lstrip('.')}_{model}-w{self.width}_{loss}", f"_seed{self.seed}_{self.digest}"
        kept = before.encode()[: MAX_NAME - len(after)].decode(errors="ignore")  # the digest tells the cut ones apart
        return runs / (kept + after) / f"fold{fold}"


def experiment_on(cohort: Cohort, **options: Any) -> Experiment:
    """The experiment on a cohort with the options of `TrainingOptions` that are given.

    Raises UsageError, with a line for each mistake, for an unknown option, loss or network, or a value that cannot be.
    """
    if unknown := sorted(options.keys() - TrainingOptions.__annotations__.keys()):
        near = get_close_matches(unknown[0], TrainingOptions.__annotations__, 1, cutoff=0.0)[0]
        raise UsageError(f"unknown option {unknown[0]!r}; did you mean {near!r}?")
    refuse_unused_folds(options)
    with refusals_as_usage():
        check_logits(options.get("loss", TrainingOptions.loss))
        refuse_model(options.get("model", TrainingOptions.model))
        experiment = Experiment(cohort=cohort.name, fingerprint=cohort.fingerprint, **options)
        refuse_model(experiment.model, experiment.width, "width" in options)
    return experiment


def refuse_unused_folds(options: Mapping[str, Any]) -> None:
    """Raise UsageError for a number of folds beside a scheme that divides the patients once."""
    if "folds" in options and (scheme := options.get("scheme")) in ("split", "official"):
        raise UsageError(
            f"folds: scheme {scheme} divides the patients once, so that a number of folds says nothing: leave it out"
        )


def own_code(loss: str, model: str) -> str | None:
    """Where a loss and a network of one's own come from, or None where both are of the catalogue.

    Raises ValueError for what cannot be imported.
    """
    names = [spec.name for spec in (LossSpec.parse(str(loss)), LossSpec.parse(str(model))) if spec.is_own]
    return "; ".join(f"{name} of {origin(name)}" for name in names) or None


def check_logits(text: str) -> nn.Module:
    """The loss of this text, which must be one of logits, by which networks are trained, measured and used.

    Raises UsageError for a loss with `from_logits=False`. Warns of one of one's own that likes right logits less
    than unsure ones, or no better than the truth itself in their place, as one does that wants probabilities.
    """
    loss = make_loss(text)
    if not getattr(loss, "from_logits", True):
        raise UsageError(
            "loss: from_logits must be true here, since networks return logits, of which validation and prediction "
            "take the sigmoid: leave from_logits out, and the last activation of a network of your own, too"
        )
    right, unsure, truth = (_of_known_logits(loss) if LossSpec.parse(text).is_own else None) or (0.0, 0.0, 0.0)
    if right > unsure or unsure > truth <= right:  # a loss that says nothing yet is 0 for all of them
        other, which = (unsure, "of 0") if right > unsure else (truth, "of 1 in masses and 0 around them")
        warnings.warn(
            f"{text} is {right:.3g} for logits of 4 in masses and -4 around them, and {other:.3g} for logits {which}, "
            "so that it teaches no masses, or not with all of its parts: if it wants probabilities, give it "
            "probabilities=true (losses of MONAI: sigmoid=true); if it is a score, minus its value is a loss",
            RuntimeWarning,
            stacklevel=2,
        )
    return loss


def _of_known_logits(loss: nn.Module) -> tuple[float, float, float] | None:
    """What a loss says of right logits, of logits of 0, and of the truth in their place, which is right as probability.

    In two images with a disc each; None if it says nothing.
    """
    rows, cols = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    discs = [(rows - 12) ** 2 + (cols - 12) ** 2 < 25, (rows - 20) ** 2 + (cols - 18) ** 2 < 49]
    target = torch.stack(discs)[:, None].float()
    with torch.no_grad(), torch.random.fork_rng(devices=[]), suppress(Exception):  # its first step will say more
        return float(loss(8 * target - 4, target)), float(loss(0 * target, target)), float(loss(target.clone(), target))
    return None


def parts_of(experiment: Experiment, cohort: Cohort, fold: int) -> Split:
    """Which images train, choose and are measured in this run."""
    scheme, folds, seed = experiment.scheme, experiment.folds, experiment.seed
    return split(cohort.table, cohort.mass_fraction, scheme=scheme, fold=fold, folds=folds, seed=seed)
