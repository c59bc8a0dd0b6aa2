"""How much runs of one system differ from each other, and which of them learned nothing."""

import math

import numpy as np
import pandas as pd

from massmatch.statistics.intervals import by_run, estimate

CONVERGED = 0.05  # best pooled DSC on the validation part; ours: far below any use, far above a few lucky pixels


def spread(rows: pd.DataFrame, metric: str = "dsc") -> pd.DataFrame:
    """The variation of each system's runs, a row per system, in the unit of the metric.

    Columns: system, runs, seeds, folds; mean, lowest, highest of the runs; sd (over runs); sd_folds (over the folds
    of a seed) and sd_seeds (between seeds, without what the folds explain), the components of folds nested in seeds
    by analysis of variance, since another seed draws other folds (without folds, sd_seeds is sd); sd_patients: what
    the choice of the test patients alone would give with a fixed network, the root mean square over runs of the
    bootstrap's standard deviation. What sd_folds has beyond sd_patients comes from training. NaN: too few runs to say.
    """
    names = list(dict.fromkeys(rows["system"]))
    return pd.DataFrame([{"system": name, **_spread(rows[rows["system"] == name], metric)} for name in names])


def _spread(rows: pd.DataFrame, metric: str) -> dict[str, float]:
    values = by_run(rows, metric)
    alone = "scheme" in rows and rows["scheme"].iloc[0] in ("split", "official")  # one run of each seed, and no folds
    within, between = (math.nan, float(values.var())) if alone else components(values)
    return {
        "runs": len(values),
        "seeds": rows["seed"].nunique(),
        "folds": rows["fold"].nunique(),
        "mean": values.mean(),
        "lowest": values.min(),
        "highest": values.max(),
        "sd": values.std(),
        "sd_folds": math.sqrt(within),
        "sd_seeds": math.sqrt(between),
        "sd_patients": _sd_patients(rows, metric),
    }


def components(values: pd.Series) -> tuple[float, float]:
    """Variance over folds within a seed, and between seeds, of values by seed and fold (unbalanced one-way ANOVA).

    The second is 0 where the means of the seeds differ by less than the folds explain, NaN with one seed; the first
    is NaN where no seed has two folds, and then so is the second.
    """
    seeds = values.dropna().groupby(level="seed")
    sizes, means, total = seeds.size(), seeds.mean(), len(values.dropna())
    free = total - len(sizes)
    if free < 1:
        return math.nan, math.nan
    within = float(sum(((group - group.mean()) ** 2).sum() for _, group in seeds)) / free
    if len(sizes) < 2:
        return within, math.nan
    grand = float((sizes * means).sum() / total)
    square = float((sizes * (means - grand) ** 2).sum()) / (len(sizes) - 1)
    size = (total - float((sizes**2).sum()) / total) / (len(sizes) - 1)
    return within, max(0.0, (square - within) / size)


def _sd_patients(rows: pd.DataFrame, metric: str) -> float:
    """From the width of each run's interval: that of a normal distribution is 3.92 standard deviations."""
    found = [estimate(run, metric, draws=2000) for _, run in rows.groupby(["seed", "fold"])]
    widths = np.array([each.high - each.low for each in found]) / 3.92
    widths = widths[~np.isnan(widths)]
    return float(np.sqrt((widths**2).mean())) if len(widths) else math.nan


def convergence(histories: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """A row per run: did it learn anything?

    Columns: system, seed, fold, best (highest pooled DSC on the validation part), best_epoch (the last of equals, whose
    weights are kept), last (of the last epoch), nothing (share of the test images in which it predicts nothing),
    state: "none" if the best is below CONVERGED or every test prediction is empty though some image has a mass; "fell
    back" if the last epoch is below CONVERGED again though an earlier one was not (the weights of the best epoch
    count); else "learned".
    """
    lines = []
    for key, epochs in histories.groupby(["system", "seed", "fold"], sort=False):
        scores = epochs["val_dsc_pooled"].astype(float).to_numpy()
        own = rows[(rows[["system", "seed", "fold"]] == list(key)).all(axis=1)]
        nothing = float(own["prediction_empty"].astype(bool).mean()) if len(own) else math.nan
        candidates = np.nan_to_num(scores, nan=-1)
        at = len(candidates) - 1 - int(candidates[::-1].argmax())
        blind = nothing == 1 and not own["truth_empty"].astype(bool).all()
        lines.append(
            {
                **dict(zip(("system", "seed", "fold"), key, strict=True)),
                "best": scores[at],
                "best_epoch": int(epochs["epoch"].iloc[at]),
                "last": scores[-1],
                "nothing": nothing,
                "state": _state(scores[at], scores[-1], blind=blind),
            }
        )
    return pd.DataFrame(lines, columns=["system", "seed", "fold", "best", "best_epoch", "last", "nothing", "state"])


def _state(best: float, last: float, *, blind: bool) -> str:
    if not best >= CONVERGED or blind:  # NaN has learned nothing either
        return "none"
    return "learned" if last >= CONVERGED else "fell back"


def unstable(convergence: pd.DataFrame) -> pd.DataFrame:
    """By system: runs, how many of them learned nothing, how many fell back at the end; most failures first."""
    states = pd.crosstab(convergence["system"], convergence["state"])
    states = states.reindex(columns=["none", "fell back", "learned"], fill_value=0)
    table = states.assign(runs=states.sum(axis=1)).drop(columns="learned").reset_index()
    table.columns.name = None
    return table.sort_values(["none", "fell back"], ascending=False, kind="stable").reset_index(drop=True)
