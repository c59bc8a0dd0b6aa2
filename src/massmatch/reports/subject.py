"""What a report is about: the runs that are compared, in one order, and the cohort that they were measured on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open

from massmatch.data import Cohort
from massmatch.errors import UsageError
from massmatch.reports.reconstructions import is_reconstruction
from massmatch.reports.tables import ordered
from massmatch.runs.collection import Collection, Group, Run, tidy
from massmatch.runs.folder import WEIGHTS
from massmatch.statistics.comparison import usual_baseline


@dataclass(frozen=True, eq=False)
class Subject:
    """The largest group of comparable runs of a collection. `why`: there is no cohort, or it is another one."""

    collection: Collection
    cohort: Cohort | None
    why: str
    baseline: str
    rows: pd.DataFrame  # tidy, all runs of the group

    @property
    def group(self) -> Group:
        """The group of runs that are compared."""
        return self.collection.groups[0]

    @property
    def runs(self) -> list[Run]:
        """The runs of the group that is compared."""
        return self.group.runs

    @cached_property
    def histories(self) -> pd.DataFrame:
        """The epochs of the group's runs, one row for each, with the run's columns."""
        return tidy(self.runs, "history")

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """The candidates of the group's runs (see `lesion_candidates`), a row each; empty where no run wrote them."""
        return tidy(self.runs, "candidates")

    @cached_property
    def order(self) -> list[str]:
        """The names of the systems in the order in which the tables show them."""
        return ordered(self.rows)

    def of(self, system: str) -> pd.DataFrame:
        """The rows of the system with this name."""
        return self.rows[self.rows["system"] == system]

    @cached_property
    def reconstructions(self) -> list[str]:
        """The names of the systems that are reconstructions, in their order."""
        rows = self.rows.drop_duplicates("system")
        marked = {
            s
            for s, loss, model in zip(rows["system"], rows["loss"], rows["model"], strict=True)
            if is_reconstruction(loss, model)
        }
        return [system for system in self.order if system in marked]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The settings in which all runs of the group agree, by name."""
        return self.group.facts


def subject(collection: Collection, cohort: Cohort | None, baseline: str | None) -> Subject:
    """The subject of a report about a collection. Raises UsageError where no run is finished or the baseline is not
    there.
    """
    if not collection.finished:
        reasons = "; ".join(f"{each.folder}: {each.state}, {each.reason}" for each in collection.unfinished[:3])
        raise UsageError(f"no run is finished, so there is nothing to report ({reasons})")
    group = collection.groups[0]
    rows = tidy(group.runs)
    systems = list(dict.fromkeys(rows["system"]))
    if baseline is not None and baseline not in systems:
        raise UsageError(f"--baseline must be one of {', '.join(systems)}, but is {baseline!r}")
    fitting, why = _fitting(cohort, group.facts["fingerprint"])
    rows = rows.copy()  # in one piece: very many small selections are taken from it
    return Subject(collection, fitting, why, baseline or usual_baseline(systems), rows)


def _fitting(cohort: Cohort | None, fingerprint: str) -> tuple[Cohort | None, str]:
    if cohort is None:
        return None, "no cohort was given: give --cohort COHORT, the folder on which the runs were trained"
    if cohort.fingerprint != fingerprint:
        found = f"the cohort {cohort.name} has the fingerprint {cohort.fingerprint}"
        return None, f"{found}, but the runs were trained on {fingerprint}: give --cohort with the cohort of the runs"
    return cohort, ""


def carried(run: Run) -> dict[str, Any]:
    """The metadata in the weights of a run; empty where the weights are gone or damaged."""
    try:
        with safe_open(run.folder / WEIGHTS, "np") as file:
            return dict(json.loads((file.metadata() or {}).get("massmatch", "{}")))
    except (OSError, SafetensorError, ValueError):
        return {}


def threshold(run: Run) -> float | None:
    """The probability above which a pixel was taken for mass; None where it was chosen and nothing says how."""
    if "threshold" in run.rows:
        return float(run.rows["threshold"].iloc[0])
    known = run.facts["threshold"]
    return known if isinstance(known, float) else carried(run).get("threshold")


def relative(folder: Path) -> str:
    """The last two parts of a run's path, which tell it from others."""
    return "/".join(folder.parts[-2:])


def listed(words: Sequence[str]) -> str:
    """Names as an enumeration: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
