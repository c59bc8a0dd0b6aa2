"""What is trained, on what, how: one value that names its own folder."""

import hashlib
import inspect
import json
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from massmatch.data import Cohort, Split, split
from massmatch.data.augmentation import Level
from massmatch.errors import UsageError
from massmatch.losses import LossSpec
from massmatch.losses.own import built, imported, origin
from massmatch.models import MODELS, Network

MAX_NAME = 240  # bytes; file systems take 255
LATER = {"adversarial": 0, "own_code": None, "augment": "none"}  # later options: runs without them keep their names
PEAK = {"constant": 1e-4, "one-cycle": 2e-3}  # section 4.1; what a width-8 AU-Net learned fastest with


class Experiment(BaseModel):
    """One network trained with one loss; with a fold, one run. Defaults are those of section 4.1 where it has any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: str  # folder name
    fingerprint: str  # of the cohort's images and masks
    loss: str = "soft-sm:random_phase=true"  # ahead in small networks, docs/results.md; name:option=value,option=value
    model: str = "aunet"
    width: int = Field(default=64, ge=1)  # channels of the first level
    scheme: Literal["kfold", "paper", "split", "official"] = "kfold"
    folds: int = Field(default=5, ge=2)
    seed: int = Field(default=0, ge=0)  # of folds, first weights and order
    epochs: int = Field(default=50, ge=1)  # not stated in the paper
    batch_size: int = Field(default=4, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"  # not stated; Adam is what AU-Net's other users take
    schedule: Literal["constant", "one-cycle"] = "constant"
    learning_rate: float = Field(default=1e-4, gt=0)  # the peak of a one-cycle schedule
    augment: Level = "none"  # of the training images; the paper names none. What each level does: data/augmentation.py
    adversarial: float = Field(default=0, ge=0)  # weight of critics (Chen et al. 2020); 0: none
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of the network; the loss has float32 always
    memory: Literal["auto", "contiguous", "channels-last"] = "auto"
    threads: int | None = Field(default=None, ge=1)  # None: PyTorch's choice
    # a pixel above it is predicted mass; "validation": the value with the best pooled DSC on the validation part
    threshold: Literal["validation"] | Annotated[float, Field(gt=0, lt=1)] = 0.5
    own_code: str | None = None  # version and source digest of a loss or network of one's own, module:attribute

    @model_validator(mode="before")
    @classmethod
    def record_own_code(cls, fields: Any) -> Any:
        """Fill in `own_code` where it is not given: other code makes another experiment."""
        if not isinstance(fields, dict) or "own_code" in fields:
            return fields
        loss, model = (fields.get(name, cls.model_fields[name].default) for name in ("loss", "model"))
        return {**fields, "own_code": own_code(loss, model)}

    @property
    def digest(self) -> str:
        """8 hex digits over all fields that matter."""
        fields = self.model_dump()
        for name, unused in LATER.items():
            if fields[name] == unused:
                del fields[name]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def folder(self, runs: Path, fold: int) -> Path:
        """Where the run of one fold lives."""
        loss, model = (text.replace(":", "+").replace("/", "-") for text in (self.loss, self.model))
        before, after = f"{self.cohort}_{model}-w{self.width}_{loss}", f"_seed{self.seed}_{self.digest}"
        kept = before.encode()[: MAX_NAME - len(after)].decode(errors="ignore")  # the digest tells the cut ones apart
        return runs / (kept + after) / f"fold{fold}"


def own_code(loss: str, model: str) -> str | None:
    """Where a loss and a network of one's own come from, or None where both are of the catalogue.

    Raises ValueError for what cannot be imported.
    """
    names = [spec.name for spec in (LossSpec.parse(str(loss)), LossSpec.parse(str(model))) if spec.is_own]
    return "; ".join(f"{name} of {origin(name)}" for name in names) or None


def make_model(text: str, width: int) -> nn.Module:
    """A network with one input channel and one logit per pixel.

    Args:
        text: a name of `MODELS`, or a class of one's own as module:Class or module:Class:option=value, which is called
            with (1, 1, width) and its options. It returns logits, or a list of them, the main one first.
        width: channels of the first level.

    Raises:
        ValueError: for an unknown name (with the nearest one), or a class that cannot be built.
    """
    spec = LossSpec.parse(text)
    if not spec.is_own:
        return network_of(text)(1, 1, width)
    kind = imported(spec.name)
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        raise UsageError(f"{spec.name} must be a class derived from torch.nn.Module, but is {kind!r}")
    return built(spec.name, partial(kind, 1, 1, width), dict(spec.options))


def network_of(name: str) -> Network:
    """The entry of the catalogue. ValueError for an unknown name, with the nearest one."""
    if name in MODELS:
        return MODELS[name]
    near = get_close_matches(name, MODELS, 1, cutoff=0.0)[0]
    raise UsageError(f"unknown model {name!r}; did you mean {near!r}? `massmatch models` lists all {len(MODELS)}")


def parts_of(experiment: Experiment, cohort: Cohort, fold: int) -> Split:
    """Which images train, choose and are measured in this run."""
    scheme, folds, seed = experiment.scheme, experiment.folds, experiment.seed
    return split(cohort.table, cohort.mass_fraction, scheme=scheme, fold=fold, folds=folds, seed=seed)
