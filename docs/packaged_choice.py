"""Measures the networks of one fold alone, with mirrored images, and together, on its validation and its test part.

    python docs/packaged_choice.py COHORT RUN RUN ... --into docs/results/packaged_choice.csv

What the package holds is chosen by the validation part; the test part says afterwards what the choice is worth. Lines
that the file holds already are not measured again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from massmatch.data import Cohort, open_cohort
from massmatch.inference.ensemble import load_ensemble, mirrored
from massmatch.runs.atomic import write_atomic
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import RunFolder
from massmatch.statistics.intervals import estimate
from massmatch.training.evaluate import evaluate


def name_of(runs: Sequence[RunFolder]) -> str:
    """One network and how it was trained, or how many networks of what kind."""
    facts = [run.experiment() for run in runs]
    if len(facts) == 1:
        return "{model} of width {width}, {augment}, {loss}".format(**facts[0])
    return f"{len(facts)} of {' and '.join(sorted({each['model'] for each in facts}))} together"


def lines_of(runs: Sequence[RunFolder], cohort: Cohort) -> list[dict[str, Any]]:
    """A line per part, without and with mirrored images, for the mean of the networks of some runs of one fold."""
    model, facts = load_ensemble([run.path for run in runs])
    experiment = Experiment(**facts["experiment"])
    fold = runs[0].experiment()["fold"]
    parts = parts_of(experiment, cohort, fold)
    return [
        {"network": name_of(runs), "fold": fold, "mirrored": both, "part": part}
        | scores(network, cohort, getattr(parts, part), facts["threshold"])
        for both, network in ((False, model), (True, mirrored(model, facts)))
        for part in ("validation", "test")
    ]


def scores(network: nn.Module, cohort: Cohort, ids: Sequence[str], threshold: float) -> dict[str, Any]:
    """What one part says of one network."""
    rows = evaluate(network, cohort, ids, threshold).rows
    dsc = {name: round(estimate(rows, name).value, 6) for name in ("dsc", "dsc_pooled")}
    return {"images": len(rows), "patients": rows["patient"].nunique(), **dsc, "missed": int(rows["missed"].sum())}


def main() -> None:
    """Lines for each network, and for several together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    cohort, runs = open_cohort(given.cohort), [RunFolder.find(run) for run in given.runs]
    table = pd.read_csv(given.into) if given.into.is_file() else pd.DataFrame(columns=["network", "fold"])
    for members in [[run] for run in runs] + [runs] * (len(runs) > 1):
        known = zip(table["network"], table["fold"], strict=True)
        if (name_of(members), members[0].experiment()["fold"]) not in known:
            table = pd.concat([table, pd.DataFrame(lines_of(members, cohort))], ignore_index=True)
            write_atomic(given.into, table.to_csv(index=False).encode())


if __name__ == "__main__":
    main()
