"""How sure the sensitivities of a FROC are: the same rates with patients drawn anew, as in `statistics`."""

import numpy as np
import pandas as pd

from massmatch.metrics import RATES
from massmatch.metrics.froc import judged
from massmatch.statistics.intervals import limits, patient_weights

DRAWS = 1000  # enough for percentiles (Efron and Tibshirani 1993, 13.3); each is a pass over all candidates


def sensitivities(pieces: pd.DataFrame, rows: pd.DataFrame, weights: np.ndarray, per: str) -> np.ndarray:
    """Share of the masses found at RATES, in each of several draws.

    Args:
        pieces: candidates of one system, and `rows` its images with `patient` and `masses`; ids come once.
        weights: (draws, patients) how often each counts, patients sorted; ones are `sensitivity_at`.
        per: "fp_per_image", or "fp_per_normal" (images without mass).

    Returns:
        (draws, len(RATES)), NaN where a draw has no mass or none of these images.
    """
    patient, names = pd.factorize(rows["patient"], sort=True)
    counted = (rows["masses"] == 0).to_numpy() if per == "fp_per_normal" else np.ones(len(rows), bool)
    masses = weights @ np.bincount(patient, rows["masses"], len(names))
    images = weights @ np.bincount(patient, counted, len(names))
    ranked = judged(pieces)
    at = pd.Index(rows["id"]).get_indexer(ranked["id"])
    finds, false, score = ranked["finds"].to_numpy(), ranked["false"].to_numpy() & counted[at], ranked["score"]
    told = finds | false
    finds, false, score, of = finds[told], false[told], score.to_numpy()[told], patient[at][told]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])  # a threshold takes all of a score
    found = np.full((len(weights), len(RATES)), np.nan)
    for draw, weight in enumerate(weights):
        if masses[draw] and images[draw]:
            hits, alarms = (np.append(0.0, np.cumsum(weight[of] * which)[last]) for which in (finds, false))
            reached = np.searchsorted(alarms, np.array(RATES) * images[draw], side="right") - 1
            found[draw] = hits[reached] / masses[draw]
    return found


def with_limits(
    pieces: pd.DataFrame, rows: pd.DataFrame, per: str = "fp_per_image", *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Value, low and high (95 %, over patients) of each rate, and of their mean in the last line, "cpm".

    The index holds the rates. NaN limits for a single patient.
    """
    count = rows["patient"].nunique()
    value, drawn = (
        _with_mean(sensitivities(pieces, rows, weights, per))
        for weights in (np.ones((1, count)), patient_weights(count, draws, seed).astype(float))
    )
    ends = [limits(drawn[:, n], count) for n in range(drawn.shape[1])]
    return pd.DataFrame(ends, columns=["low", "high"], index=[*RATES, "cpm"]).assign(value=value[0])


def _with_mean(found: np.ndarray) -> np.ndarray:
    return np.column_stack([found, found.mean(axis=1)])
