"""The paper's tables and figures as lists of runs, to be read beside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from massmatch.losses import LOSSES, LossSpec, VariantName
from massmatch.runs.experiment import Experiment


class System(NamedTuple):
    """A row of a table: a network trained with a loss."""

    loss: str
    model: str = "aunet"  # the paper's baseline, in every row but one


class Planned(NamedTuple):
    """A run that is to be: its row in the table, what is trained, on which fold."""

    label: str
    experiment: Experiment
    fold: int

    def folder(self, runs: Path) -> Path:
        """The folder of the run below the folder of all runs."""
        return self.experiment.folder(runs, self.fold)


def variants(core: str) -> list[str]:
    """The eight losses of one core: the rows of Table 1, of its left half (G-A), then of its right one (G-NZ)."""
    return [VariantName(core, version, cells).text for cells in ("a", "nz") for version in ("b", "d", "s", "sd")]


def ablation(*cores: str) -> list[System]:
    """All variants of each core, and what the paper's tables lack beside them: the plain cores, and the hybrid loss."""
    return [System(loss) for loss in ("hybrid", *cores, *(name for core in cores for name in variants(core)))]


def both_ways(losses: Iterable[str], option: str) -> list[System]:
    """Each loss as it is, and with an option."""
    return [System(spec) for loss in losses for spec in (loss, f"{loss}:{option}")]


CORES = ("bce", "tversky", "dice")  # Eqs. 2 and 3, Appendix A
BEST = ("sm-bce-sd-a", "sm-tversky-s-a")  # the paper's own choice of each core, Table 2
RESCALED = [VariantName(core, version, "a").text for core in ("bce", "tversky") for version in ("d", "s", "sd")]

TABLES: dict[int, list[System]] = {
    1: ablation("bce", "tversky"),
    2: [
        System("hybrid", "arfnet"),  # ARF-Net
        System("hybrid"),  # AU-Net
        *map(System, ("asp-q", "asp-l", "asp-c", "density-asp", *BEST)),
    ],
    3: ablation("dice"),
}
FIGURES: dict[str, list[System]] = {  # the paper does not say for which variants it drew them
    "3a": both_ways(BEST, "cell_statistic=mean"),
    # Those that have a scale or a distance. With "direct", a cell that is no false positive weighs 1 instead of 1/2:
    # the last ones keep it at 1/2, so that the rescaling alone differs.
    "3b": both_ways(RESCALED, "rescale=direct")
    + [System(f"{loss}:rescale=direct,matched_weight=0.5") for loss in RESCALED if "d" in loss.split("-")[2]],
}

PAPER_NAMES = {
    **{"bce": "BCE", "tversky": "Tversky", "dice": "Dice", "arfnet": "ARF-Net"},
    **{"asp-q": "ASP-Q", "asp-c": "ASP-C", "asp-l": "ASP-L", "density-asp": "Density-ASP"},
}


def label(system: System) -> str:
    """The row's name as the paper writes it, where it has one: SM-S (Tversky, G-A)."""
    spec = LossSpec.parse(system.loss)
    entry = LOSSES.get(spec.name)
    if entry is not None and entry.variant:
        core, version, cells = entry.variant
        text = f"SM-{version.upper()} ({PAPER_NAMES[core]}, G-{cells.upper()})"
    else:
        text = PAPER_NAMES.get(spec.name, spec.name)
    text = ", ".join(filter(None, (text, spec.option_text)))
    return text if system.model == "aunet" else f"{PAPER_NAMES.get(system.model, system.model)}, {text}"


def every_fold(scheme: str, folds: int) -> list[int]:
    """The numbers of the folds of a scheme."""
    return list(range(folds if scheme in ("kfold", "paper") else 1))


def planned(systems: Iterable[System], folds: Sequence[int], seeds: Sequence[int], /, **fields: Any) -> list[Planned]:
    """A run of each system for each fold and seed, each once; `fields` are those of an Experiment.

    The folds given first are the numbers of those to run, the field `folds` says how many there are. The runs are
    ordered fold by fold, so that whatever is done when one looks is a table of its own. Raises pydantic's
    ValidationError.
    """
    once = list(dict.fromkeys(systems))
    return [
        Planned(label(system), Experiment(loss=system.loss, model=system.model, seed=seed, **fields), fold)
        for seed in dict.fromkeys(seeds)
        for fold in dict.fromkeys(folds)
        for system in once
    ]
