"""experiment.yaml: what a run is, and what was decided when it began."""

import hashlib
import json
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import nn

from massmatch.data import Cohort, Split
from massmatch.errors import RunError, UsageError
from massmatch.runs.atomic import write_atomic
from massmatch.runs.checkpoint import differences
from massmatch.runs.experiment import Experiment
from massmatch.runs.folder import EXPERIMENT, RunFolder
from massmatch.runs.precision import Speed, fastest, on_threads


class Recorded(NamedTuple):
    """How a run computes, for as long as it lives: another way would change its bits."""

    speed: Speed
    threads: int


def recorded(
    out: Path,
    experiment: Experiment,
    fold: int,
    parts: Split,
    model: nn.Module,
    device: torch.device,
    speed: Speed | None = None,
    **used: int | str,
) -> Recorded:
    """What experiment.yaml says; at the first start `speed`, or what is fastest here, which is then written down.

    `used` are facts that do not change results, such as `workers`, `processes` and `cohort_path`.
    """
    run = RunFolder(out)
    if (run / EXPERIMENT).is_file():
        found = run.resolved()
        return Recorded(Speed(found["precision"], found["memory"]), found["threads"])
    threads = experiment.threads or torch.get_num_threads()
    with on_threads(threads):
        speed = speed or fastest(model, experiment.precision, experiment.memory, device)
    resolved = {
        **speed._asdict(),
        "threads": threads,
        "device": device.type,
        **used,
        "images": counted(parts),
        "division": division(parts),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {name: version(name) for name in ("massmatch", "torch", "lightning-fabric", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    facts = {**experiment.model_dump(), "fold": fold, "resolved": resolved}
    write_atomic(run / EXPERIMENT, yaml.safe_dump(facts, sort_keys=False).encode())
    return Recorded(speed, threads)


def counted(parts: Split) -> dict[str, int]:
    """How many images each part has."""
    return {name: len(ids) for name, ids in parts._asdict().items()}


def division(parts: Split) -> str:
    """16 hex digits over the ids of each part: they follow from patients too, which the fingerprint does not cover."""
    ids = {name: sorted(of) for name, of in parts._asdict().items()}
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def densities(parts: Split, cohort: Cohort) -> str:
    """16 hex digits over the densities of the training images, which are no part of the fingerprint either."""
    known = cohort.table.set_index("id")["density"].astype(float)
    return hashlib.sha256(json.dumps([(id, known[id]) for id in sorted(parts.train)]).encode()).hexdigest()[:16]


def refuse_other_parts(run: RunFolder, parts: Split, cohort: Cohort) -> None:
    """Raise UsageError where the cohort's table divides the images otherwise than it did when the run began, or gives
    those which are learned from other densities, in a run whose loss reads them.

    Images that the network has learned from would be tested. Runs of version 0.1 know the sizes of their parts alone.
    """
    known, now = run.experiment().get("resolved", {}), {"images": counted(parts), "division": division(parts)}
    if any(known.get(name, value) != value for name, value in now.items()):
        raise UsageError(
            f"{run.path}: the cohort's samples.csv divides the images into other parts than when this run began: its "
            "patients, or its column `split`, have changed; bring that table back, or train anew with another --out"
        )
    if "densities" in known and known["densities"] != densities(parts, cohort):
        raise UsageError(
            f"{run.path}: the cohort's samples.csv gives the training images other densities than when this run began, "
            "and its loss reads them: bring that table back, or train anew with another --out"
        )


def relatives(experiment: Experiment, runs: Path, fold: int) -> dict[Path, str]:
    """Runs of the same cohort, network, loss, seed and fold with other settings, by folder: what differs in them."""
    own = experiment.folder(runs, fold)
    named = own.parent.name.removesuffix(experiment.digest)
    found: dict[Path, str] = {}
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        path = folder / own.name
        if folder == own.parent or not folder.name.startswith(named) or not (path / EXPERIMENT).is_file():
            continue
        with suppress(RunError):
            known = {k: v for k, v in RunFolder(path).experiment().items() if k not in ("resolved", "fold")}
            found[path] = ", ".join(
                f"{name} {known[name]} instead of {asked}"
                for name, asked in experiment.model_dump().items()
                if name in known and known[name] != asked
            )
    return found


def refuse_another(out: Path, experiment: Experiment, fold: int) -> None:
    """Raise UsageError if a folder belongs to another experiment: what differs, at most five keys."""
    run = RunFolder(out)
    if not (run / EXPERIMENT).is_file():
        return
    found = {key: value for key, value in run.experiment().items() if key != "resolved"}
    asked = {**experiment.model_dump(), "fold": fold}
    unsaid = {name: field.default for name, field in Experiment.model_fields.items() if not field.is_required()}
    if told := differences(asked, {**unsaid, **found}):
        raise UsageError(f"{run / EXPERIMENT} is of another run: {told}; give another --out, or remove the folder")
