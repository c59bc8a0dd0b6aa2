"""What the statistics support, in words, and no more than that."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from massmatch.metrics.registry import metric as registered
from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import is_mean, sense
from massmatch.statistics.ranks import ALPHA
from massmatch.statistics.spread import CONVERGED, convergence
from massmatch.wording import count

Verdict = Literal["supported", "these networks", "not supported", "note"]
FEW_PATIENTS = 20  # below, a percentile interval is too narrow (Efron and Tibshirani 1993, chapter 14)


class Finding(NamedTuple):
    """One sentence or two about a system (None: about all of them)."""

    verdict: Verdict
    text: str
    system: str | None = None


def findings(
    rows: pd.DataFrame, histories: pd.DataFrame, baseline: str, metric: str = "dsc", *, draws: int = 10_000
) -> list[Finding]:
    """What may be said about every system against the baseline, strongest first, then what limits it.

    A difference is *supported* if three things agree in its direction: Wilcoxon's test of the patient means after
    Holm's correction over all systems (p < 0.05), the interval over patients, and, with at least two seeds, the
    interval over trainings. It is supported for *these networks* alone where the last is missing or holds 0: another
    training may turn it round. A metric without patient means (pooled) has no test, and is never supported.
    """
    table = against(rows, baseline, metric, draws=draws)
    order = {"supported": 0, "these networks": 1, "not supported": 2}
    own = sorted((compared(line) for _, line in table.iterrows()), key=lambda finding: order[finding.verdict])
    return [*own, *limits(rows, table), *not_learned(histories, rows)]


def verdict(line: pd.Series) -> Verdict:
    """Whether a row of `against` shows a difference, and which."""
    holds = agrees(line["difference"], line["low"], line["high"])
    test = line["p_holm"] < ALPHA and _one_way(line)
    if not (holds and test):
        return "not supported"
    trained = line["seeds"] > 1 and agrees(line["difference"], line["training_low"], line["training_high"])
    return "supported" if trained else "these networks"


def agrees(value: float, low: float, high: float) -> bool:
    """Whether the interval lies on the value's side of 0; NaN never does."""
    return bool(value > 0 and low > 0) or bool(value < 0 and high < 0)


def _one_way(line: pd.Series) -> bool:
    """Whether more patients do better where the mean is better: a few large differences are no support."""
    return bool((line["better"] - line["worse"]) * line["difference"] * sense(line["metric"]) > 0)


def compared(line: pd.Series) -> Finding:
    """A row of `against` in words."""
    system, baseline, found = line["system"], line["baseline"], verdict(line)
    if line["images"] == 0:
        which = f" for which {registered(line['metric']).heading} is defined" if line["undefined"] else ""
        return Finding("not supported", f"{system} and {baseline} have no test image in common{which}.", system)
    basis = f"{count(line['patients'], 'patient')}, {count(line['seeds'], 'seed')}, {count(line['folds'], 'fold')}"
    numbers = f"{_difference(line)}; {_test(line)}; {basis}"
    way = "better" if line["difference"] * sense(line["metric"]) > 0 else "worse"
    says = {
        "supported": f"{system} is {way} than {baseline}, for other patients and other trainings like these",
        "these networks": f"{system} as trained here ({_untrained(line)}) is {way} than {baseline}",
        "not supported": f"No difference between {system} and {baseline} is supported{_open(line)}",
    }
    return Finding(found, f"{says[found]}: {numbers}.", system)


def _difference(line: pd.Series) -> str:
    """The difference with its intervals, over trainings only where there are any."""
    unit = " points" if registered(line["metric"]).percent else ""
    over = "no interval: a single patient"
    if not np.isnan(line["low"]):
        over = f"95 % interval over patients {_signed(line, 'low')} to {_signed(line, 'high')}"
    if not np.isnan(line["training_low"]):
        over += f", over trainings {_signed(line, 'training_low')} to {_signed(line, 'training_high')}"
    return f"mean {registered(line['metric']).heading} {_signed(line, 'difference')}{unit} ({over})"


def _signed(line: pd.Series, column: str) -> str:
    """The value of a column with its sign, in points where the metric is a fraction."""
    value = line[column] * (100 if registered(line["metric"]).percent else 1)
    return f"{value:+.1f}".replace("-", "\u2212") if abs(value) >= 0.05 else "0.0"


def _test(line: pd.Series) -> str:
    if np.isnan(line["p"]):
        return "no test" if is_mean(line["metric"]) else "no test, since the metric has no mean per patient"
    p, tests = line["p_holm"], line["tests"]
    corrected = f"Holm over {tests} comparisons" if tests > 1 else "one comparison"
    counts = f"{count(line['better'], 'patient')} better, {line['worse']} worse, {line['equal']} equal"
    return f"Wilcoxon p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} ({corrected}; {counts})"


def _untrained(line: pd.Series) -> str:
    """Why a difference may be one of these trainings alone."""
    return "one seed" if line["seeds"] < 2 else "chance in the training may explain it"


def _open(line: pd.Series) -> str:
    """What was not ruled out, and where test and interval disagree."""
    if np.isnan(line["low"]):
        return ""
    if line["p_holm"] < ALPHA and not _one_way(line):
        return ", since most patients point the other way than the mean"
    if agrees(line["difference"], line["low"], line["high"]) and not np.isnan(line["p"]):
        return ", since the test does not confirm the interval"
    return ", which does not show that they are equal"


def limits(rows: pd.DataFrame, table: pd.DataFrame) -> list[Finding]:
    """What all sentences share: how many seeds and patients with mass; which images are left out."""
    seeds, folds = (rows[name].nunique() for name in ("seed", "fold"))
    patients = rows.loc[~rows["truth_empty"].astype(bool), "patient"].nunique()  # DSC is of images with mass alone
    notes = []
    if seeds == 1:
        known = "" if folds == 1 else ", those over trainings know only what differs between folds"
        notes.append(
            "There is one seed: first weights were drawn once, so how much of a difference is chance in the training "
            f"is unknown; intervals over patients leave it out{known}."
        )
    if patients < FEW_PATIENTS:
        notes.append(f"With {count(patients, 'patient')} with mass, the intervals are too narrow.")
    if len(table) and table["unpaired"].any():
        short = ", ".join(f"{s} ({n})" for s, n in zip(table["system"], table["unpaired"], strict=True) if n)
        notes.append(f"Images that only one of the two has are left out, counted once per run: {short}.")
    if len(table) and table["undefined"].any():
        short = ", ".join(f"{s} ({n})" for s, n in zip(table["system"], table["undefined"], strict=True) if n)
        which = "without mass, or for which the metric is undefined, are left out, counted once per run"
        notes.append(f"Images {which}: {short}.")
    return [Finding("note", text) for text in notes]


def not_learned(histories: pd.DataFrame, rows: pd.DataFrame) -> list[Finding]:
    """Systems of which some run ended with nothing."""
    runs = convergence(histories, rows)
    found = []
    for system, own in runs.groupby("system", sort=False):
        count, back = int((own["state"] == "none").sum()), int((own["state"] == "fell back").sum())
        of = f"{len(own)} {'run' if len(own) == 1 else 'runs'}"
        if count:
            text = f"{system} learned nothing in {count} of {of}: {NOTHING}."
            found.append(Finding("note", text, str(system)))
        if back:
            text = (
                f"{system} lost in {back} of {of} by the last epoch what it had learned; its best epoch was measured."
            )
            found.append(Finding("note", text, str(system)))
    return found


NOTHING = f"never a pooled validation DSC of {100 * CONVERGED:.0f} %, or no mass predicted in any test image"
