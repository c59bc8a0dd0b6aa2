"""The training in a report: curves, runs that learned nothing, how much runs differ."""

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd

from massmatch.reports.blocks import Block, Chart, Heading, Words, table
from massmatch.reports.charts import Axis, Panel, axis, dots, panel, percent
from massmatch.reports.subject import Subject
from massmatch.statistics.intervals import by_run
from massmatch.statistics.spread import CONVERGED, convergence, spread, unstable
from massmatch.wording import count


def training(of: Subject) -> list[Block]:
    """The section about training: learning curves, runs that learned nothing, and how much runs differ."""
    return [
        *curves(of),
        Heading("Runs that learned nothing"),
        *_convergence(of),
        Heading("How much the runs of one loss differ"),
        *_spread(of),
    ]


def curves(of: Subject) -> list[Block]:
    """The curves of validation DSC and of loss, one panel for each system."""
    epochs = axis([1, of.histories["epoch"].max()], whole=True, tight=True, most=5)
    lines = "A line per run (fold and seed). Rest the pointer on a line to read which."
    dsc = axis([0.0, *of.histories["val_dsc_pooled"]], percent=True, most=5)
    return [
        Chart(
            "Validation DSC by epoch.",
            f"Pooled DSC on the validation part, on which the weights are chosen, in percent. {lines} All panels share "
            "their axes.",
            panels=[_panel(of, system, "val_dsc_pooled", epochs, dsc) for system in of.order],
        ),
        *_losses(of, epochs),
    ]


def _losses(of: Subject, epochs: Axis) -> list[Block]:
    if "train_loss" not in of.histories:
        return [Words("The runs' histories hold no training loss.")]
    return [
        Chart(
            "Training loss by epoch.",
            "Each loss has its own unit and its own axis: compare the shape of the curves, not their height.",
            panels=[_loss_panel(of, system, epochs) for system in of.order],
        )
    ]


def _loss_panel(of: Subject, system: str, epochs: Axis) -> Panel:
    own = of.histories[of.histories["system"] == system]
    return _panel(of, system, "train_loss", epochs, axis(own["train_loss"], most=5))


def _panel(of: Subject, system: str, column: str, epochs: Axis, values: Axis) -> Panel:
    own = of.histories[of.histories["system"] == system]
    runs = [(f"seed {seed}, fold {fold}", run) for (seed, fold), run in own.groupby(["seed", "fold"])]
    lines = [("thin", name, run["epoch"].tolist(), run[column].tolist()) for name, run in runs]
    if column == "train_loss":
        says, label = (
            "; ".join(f"{name}: from {_number(run[column], 0)} to {_number(run[column], -1)}" for name, run in runs),
            "loss",
        )
    else:
        says = "; ".join(
            f"{name}: best {percent(run[column].max())} %, last {percent(run[column].iloc[-1])} %" for name, run in runs
        )
        label = "DSC, %"
    return panel(system, lines, epochs, values, labels=("epoch", label), says=says)


def _number(values: pd.Series, at: int) -> str:
    return f"{values.iloc[at]:.3f}".replace("-", "−")


def _convergence(of: Subject) -> list[Block]:
    runs = convergence(of.histories, of.rows)
    bad = runs[runs["state"] != "learned"]
    rule = (
        f"A run has learned nothing if its pooled validation DSC never reached {100 * CONVERGED:.0f} % or if it "
        "predicts no mass in any test image; it fell back if the last epoch is below that again. The paper calls "
        "plain Dice unstable without showing runs: here is each."
    )
    if bad.empty:
        return [
            Words(f"None: each of the {count(len(runs), 'run')} learned something and kept it."),
            Words(rule, soft=True),
        ]
    by_system = unstable(runs).rename(columns={"fell back": "back"})
    by_system = by_system[by_system["none"] + by_system["back"] > 0]
    columns = {
        "system": ("loss", ""),
        "runs": ("runs", "d"),
        "none": ("learned nothing", "d"),
        "back": ("fell back", "d"),
    }
    return [
        Words(
            f"{len(bad)} of {count(len(runs), 'run')} learned nothing or fell back; losses that are not below have "
            "none."
        ),
        table("convergence", "Runs that learned nothing, by loss", by_system, columns, note=rule),
        table(
            "convergence_runs",
            "Each of these runs",
            bad,
            {
                "system": ("loss", ""),
                "seed": ("seed", "d"),
                "fold": ("fold", "d"),
                "state": ("state", ""),
                "best": ("best validation DSC, %", "%"),
                "best_epoch": ("in epoch", "d"),
                "last": ("last, %", "%"),
                "nothing": ("test images without prediction, %", "%1"),
            },
            folded=True,
        ),
    ]


def _spread(of: Subject) -> list[Block]:
    found = spread(of.rows).set_index("system").loc[of.order].reset_index()
    runs = {system: _by_run(of.of(system)) for system in of.order}
    texts = {row["system"]: _range(row) for row in found.to_dict("records")}
    columns = {
        "system": ("loss", ""),
        "runs": ("runs", "d"),
        "seeds": ("seeds", "d"),
        "folds": ("folds", "d"),
        "mean": ("mean DSC", "%"),
        "lowest": ("lowest run", "%"),
        "highest": ("highest run", "%"),
        "sd": ("SD over runs", "%"),
        "sd_folds": ("SD over folds", "%"),
        "sd_seeds": ("SD between seeds", "%"),
        "sd_patients": ("SD from patients", "%"),
    }
    note = (
        "Percent. SD over folds: within a seed. SD between seeds: what folds do not explain; without folds (official, "
        "or split, which draws other test patients for each seed) the SD over runs. SD from patients: what the "
        "choice of the test patients alone would give with a fixed network; what the SD over folds has beyond it "
        "comes from the training. A dash: too few runs to say."
    )
    return [
        Chart(
            "Mean DSC of each run.",
            "A dot per fold and seed, a stroke at their mean; percent.",
            chart=dots(runs, texts),
        ),
        table("spread", "Variation over folds and seeds", found, columns, note=note),
    ]


def _by_run(rows: pd.DataFrame) -> dict[str, float]:
    values = by_run(rows).reset_index(name="value").to_dict("records")
    return {f"seed {each['seed']}, fold {each['fold']}": float(each["value"]) for each in values}


def _range(row: dict[Hashable, Any]) -> str:
    if row["runs"] < 2 or math.isnan(row["sd"]):
        return f"{percent(row['mean'])} (1 run)"
    return f"{percent(row['mean'])} (SD {percent(row['sd'])}, {int(row['runs'])} runs)"
