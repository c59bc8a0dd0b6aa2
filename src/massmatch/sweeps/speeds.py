"""In which number format and memory layout the runs of a sweep compute: the same in all that are compared.

A sweep decides it once for each of its networks. Runs that have begun decide it for the others, on any machine, and for
those that a later sweep adds in the same folder; only where there are none is the network timed.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from massmatch.runs.experiment import Experiment
from massmatch.runs.folder import RunFolder, run_folders
from massmatch.runs.network import make_model
from massmatch.runs.precision import Speed, fastest, on_threads
from massmatch.runs.weights import best_device
from massmatch.sweeps.status import experiment_of
from massmatch.sweeps.tables import Planned

Family = tuple[Any, ...]  # of runs that compute in the same way: in a sweep, those of one network
SHARED = [name for name in Experiment.model_fields if name not in ("loss", "seed", "own_code")]


def family_of(facts: Mapping[str, Any]) -> Family:
    """The fields in which runs agree that differ in loss, seed and fold alone; an option later than a run is unset."""
    return tuple(facts.get(name, Experiment.model_fields[name].default) for name in SHARED)


def open_families(planned: Iterable[Planned]) -> dict[Family, Experiment]:
    """One experiment of each network that leaves number format or memory layout open ("auto")."""
    experiments = (run.experiment for run in planned)
    return {family_of(each.model_dump()): each for each in experiments if "auto" in (each.precision, each.memory)}


def speeds_so_far(planned: Iterable[Planned], runs: Path) -> tuple[dict[Family, Speed], list[str]]:
    """What runs in the folder have decided: the most common, and a line for each network whose runs disagree."""
    found: dict[Family, Counter[Speed]] = {family: Counter() for family in open_families(planned)}
    for folder in run_folders(runs) if runs.is_dir() else ():
        facts = experiment_of(RunFolder(folder))
        if facts and (family := family_of(facts)) in found:
            found[family][Speed(facts["resolved"]["precision"], facts["resolved"]["memory"])] += 1
    speeds = {family: counts.most_common(1)[0][0] for family, counts in found.items() if counts}
    return speeds, [disagreement(counts, runs) for counts in found.values() if len(counts) > 1]


def disagreement(counts: Counter[Speed], runs: Path) -> str:
    """That runs of one network cannot be compared without care, and what the others will do."""
    ways = "; ".join(f"{count} in {speed}" for speed, count in counts.most_common())
    return (
        f"the runs in {runs} do not all compute in the same way ({ways}): those that have not begun take "
        f"{counts.most_common(1)[0][0]}; for a fair comparison start anew with --precision, --memory and another --out"
    )


def speeds_of(
    planned: Iterable[Planned], known: Mapping[Family, Speed], measure: Callable[[Experiment], Speed]
) -> dict[Family, Speed]:
    """What is known, and for each other network what is measured, once."""
    missing = {family: each for family, each in open_families(planned).items() if family not in known}
    return {**known, **{family: measure(each) for family, each in missing.items()}}


def measured(experiment: Experiment) -> Speed:
    """The fastest way for its network on this machine's best device, with the threads of a run."""
    with on_threads(experiment.threads):
        model = make_model(experiment.model, experiment.width)
        return fastest(model, experiment.precision, experiment.memory, best_device())


def settled(experiment: Experiment, speeds: Mapping[Family, Speed]) -> Experiment:
    """With what its sweep has decided in the place of "auto"."""
    speed = speeds.get(family_of(experiment.model_dump()))
    return experiment.model_copy(update=speed._asdict()) if speed else experiment


if __name__ == "__main__":  # on a machine of a cluster: an experiment on stdin, the two names on stdout
    print(*measured(Experiment.model_validate_json(sys.stdin.read())))
