"""What is trained, on what, how: one value that names its own folder."""

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from massmatch.data import Cohort, Split, split
from massmatch.models import MODELS, Network

MAX_NAME = 240  # bytes; file systems take 255
PEAK = {"constant": 1e-4, "one-cycle": 2e-3}  # section 4.1; what a width-8 AU-Net learned fastest with


class Experiment(BaseModel):
    """One network trained with one loss; with a fold, one run. Defaults are those of section 4.1 where it has any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: str  # folder name
    fingerprint: str  # of the cohort's images and masks
    loss: str = "sm-tversky-s-a"  # the paper's best; with options as in name:option=value,option=value
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
    adversarial: float = Field(default=0, ge=0)  # weight of critics (Chen et al. 2020); 0: none
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of the network; the loss has float32 always
    memory: Literal["auto", "contiguous", "channels-last"] = "auto"
    threads: int | None = Field(default=None, ge=1)  # None: PyTorch's choice
    # a pixel above it is predicted mass; "validation": the value with the best pooled DSC on the validation part
    threshold: Literal["validation"] | Annotated[float, Field(gt=0, lt=1)] = 0.5

    @property
    def digest(self) -> str:
        """8 hex digits over all fields that matter."""
        fields = self.model_dump()
        if not self.adversarial:
            del fields["adversarial"]  # a later option: runs without it keep their names
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]

    def folder(self, runs: Path, fold: int) -> Path:
        """Where the run of one fold lives."""
        loss = self.loss.replace(":", "+").replace("/", "-")
        before, after = f"{self.cohort}_{self.model}-w{self.width}_{loss}", f"_seed{self.seed}_{self.digest}"
        kept = before.encode()[: MAX_NAME - len(after)].decode(errors="ignore")  # the digest tells the cut ones apart
        return runs / (kept + after) / f"fold{fold}"


def make_model(name: str, width: int) -> nn.Module:
    """A network with one input channel and one logit per pixel. ValueError for an unknown name."""
    return network_of(name)(1, 1, width)


def network_of(name: str) -> Network:
    """The entry of the catalogue. ValueError for an unknown name, with the nearest one."""
    if name in MODELS:
        return MODELS[name]
    near = get_close_matches(name, MODELS, 1, cutoff=0.0)[0]
    raise ValueError(f"unknown model {name!r}; did you mean {near!r}? `massmatch models` lists all {len(MODELS)}")


def parts_of(experiment: Experiment, cohort: Cohort, fold: int) -> Split:
    """Which images train, choose and are measured in this run."""
    scheme, folds, seed = experiment.scheme, experiment.folds, experiment.seed
    return split(cohort.table, cohort.mass_fraction, scheme=scheme, fold=fold, folds=folds, seed=seed)
