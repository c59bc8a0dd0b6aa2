"""The first and the last part of a report: what is shown in words, what is missing; how all of it was made."""

from collections.abc import Sequence

import pandas as pd
import yaml

from massmatch.metrics.registry import METRICS as METRIC
from massmatch.reports.blocks import Block, Code, Heading, Lines, Pairs, Table, Words, table
from massmatch.reports.masses import understated
from massmatch.reports.subject import Subject, carried, listed, relative, threshold
from massmatch.reports.tables import overview
from massmatch.runs.collection import Run, changed_code, differing, systems, tidy
from massmatch.statistics.findings import Finding, findings
from massmatch.training.thresholds import at_end, searched_before
from massmatch.wording import count


def summary(of: Subject, draws: int) -> list[Block]:
    """The first section: counts of runs and images, which differences are supported, warnings, and what is missing."""
    images = of.rows.drop_duplicates("id")
    facts = {
        "losses": len(of.order),
        "runs": len(of.runs),
        "folds": of.rows["fold"].nunique(),
        "seeds": of.rows["seed"].nunique(),
        "patients": of.rows["patient"].nunique(),
        "test images": len(images),
        "without mass": int(images["truth_empty"].astype(bool).sum()),
    }
    said = findings(of.rows, of.histories, of.baseline, draws=draws)
    results = [finding.text for finding in said if finding.verdict != "note"]
    notes = [finding.text for finding in said if finding.verdict == "note"]
    warnings = [*notes, *_warnings(of)]
    blocks: list[Block] = [Pairs([(name, str(value)) for name, value in facts.items()])]
    if results:
        blocks += [Heading(f"Is any loss better or worse than {of.baseline}?"), Words(_digest(said)), Lines(results)]
        blocks += [Words(RULE, soft=True)]
    if warnings:
        blocks += [Heading("What limits these results"), Lines(warnings, kind="warning")]
    return [*blocks, *_missing(of), *_others(of, draws)]


def _digest(said: Sequence[Finding]) -> str:
    """How many of each verdict, before the sentences."""
    of = {verdict: [f.system or "" for f in said if f.verdict == verdict] for verdict in VERDICTS}
    return " ".join(f"{text}: {listed(of[verdict]) or 'none'}." for verdict, text in VERDICTS.items())


VERDICTS = {
    "supported": "Different from it for other patients and other trainings",
    "these networks": "Different for other patients, with these trained networks",
    "not supported": "No difference supported",
}
RULE = (
    "A difference is called supported if three things agree: Wilcoxon's test of the patients' means after Holm's "
    "correction (p < 0.05), the interval over patients, and, with at least two seeds, the interval over trainings. "
    "Without the last it holds for these networks alone: another training may turn it round."
)


def _warnings(of: Subject) -> list[str]:
    found = []
    if of.why:
        found.append(f"There are no pictures: {of.why}.")
    runs = {system: {(row.seed, row.fold) for row in of.of(system).itertuples()} for system in of.order}
    if any(own != runs[of.baseline] for own in runs.values()):
        counts = ", ".join(f"{system} {len(own)}" for system, own in runs.items())
        found.append(
            f"Not all losses have the same runs ({counts}): means are over other images; differences are over the "
            "images in common."
        )
    elif any(own != _tested(of, of.baseline) for own in (_tested(of, system) for system in of.order)):
        found.append(
            "Runs of the same seed and fold tested other images, or other masses or patients of them: means are over "
            "other images; differences are over the images in common."
        )
    if of.facts["scheme"] in ("kfold", "paper"):
        there, seeds = len(of.rows[["seed", "fold"]].drop_duplicates()), of.rows["seed"].nunique()
        if there < (wanted := seeds * of.facts["folds"]):
            each = f", {of.facts['folds']} of each seed" if seeds > 1 else ""
            found.append(f"{there} of {wanted} folds{each}: the others and their test images are missing.")
    if (of.facts["scheme"], of.rows.duplicated(["system", "seed", "id"]).any()) == ("kfold", True):
        found.append(
            "Images were tested in several folds of one seed, which a cross-validation never does: samples.csv, which "
            "divides the images, was changed between the runs. Train them all with one table."
        )
    if of.rows["truth_empty"].astype(bool).all():
        found.append("No test image holds a mass: a pooled DSC of 100 % says that nothing was predicted, and no more.")
    found += [*_code_changed(of), *computed_apart(of.runs), *searches_apart(of.runs), *understated(of)]
    if len(of.collection.groups) > 1:
        more = count(len(of.collection.groups) - 1, "group")
        found.append(
            f"{more} of runs cannot be compared with these and {'is' if more == '1 group' else 'are'} listed below "
            "apart."
        )
    if of.reconstructions:
        found.append(
            f"Reconstructions: {listed(of.reconstructions)}. Their details could not be read anywhere, so they say "
            "nothing about their authors' systems."
        )
    return found


def _tested(of: Subject, system: str) -> set[tuple[int, int, str, str, int]]:
    """Of each image on which a system was tested seed, fold, id, patient and pixels of mass."""
    rows = of.of(system)
    return set(zip(rows["seed"], rows["fold"], rows["id"], rows["patient"], rows["tp"] + rows["fn"], strict=True))


def _code_changed(of: Subject) -> list[str]:
    """A sentence for each loss or network of one's own that was written anew between runs."""
    return [
        f"{name} is not the same in all runs ({listed(sources)}): each is shown as a system of its own."
        for name, sources in changed_code(of.runs).items()
    ]


COMPUTED = ("precision", "memory", "threads", "device")  # in experiment.yaml: decided when a run begins, and kept


def computed_apart(compared: Sequence[Run]) -> list[str]:
    """A sentence for each way of computing in which the runs differ: their numbers then differ by it, too."""
    found, resolved = [], [run.experiment.get("resolved") or {} for run in compared]
    for name in COMPUTED:
        if ways := _ways(compared, [each.get(name, "unknown") for each in resolved]):
            mend = "" if name == "device" else f" Give --{name} to have it the same in all."
            found.append(f"Not all runs computed with the same {name} ({ways}).{mend}")
    if ways := _ways(compared, [(each.get("versions") or {}).get("massmatch", "unknown") for each in resolved]):
        found.append(f"Not all runs were made by the same version of massmatch ({ways}): train the older ones again.")
    return found


def _ways(compared: Sequence[Run], values: Sequence[object]) -> str:
    """How many runs of which losses have each of these values, one of each run; empty where all have the same."""
    runs: dict[str, list[str]] = {}
    for run, value in zip(compared, values, strict=True):
        runs.setdefault(str(value), []).append(run.loss)
    ways = [f"{way}: {count(len(own), 'run')} of {listed(sorted(set(own)))}" for way, own in runs.items()]
    return "; ".join(ways) if len(ways) > 1 else ""


def searches_apart(runs: Sequence[Run]) -> list[str]:
    """A sentence for each way in which the search for thresholds may have made a difference between runs."""
    return [*_thresholds_at_ends(runs), *_searched_in_two_ranges(runs)]


def _searched_in_two_ranges(runs: Sequence[Run]) -> list[str]:
    """A sentence where thresholds were searched for in two ranges: runs of the older one may have missed the best."""
    chosen = [run for run in runs if run.facts["threshold"] == "validation" and "val_threshold" in run.history]
    older = [run for run in chosen if searched_before(run.history["val_threshold"].dropna())]
    if not 0 < len(older) < len(chosen):
        return []
    return [
        f"{count(len(older), 'run')} of {listed(sorted({run.loss for run in older}))} searched the threshold from 0.05 "
        "to 0.95, as older versions did, the others in the whole range: differences between them may come from the "
        "search. Train these again."
    ]


def _thresholds_at_ends(runs: Sequence[Run]) -> list[str]:
    """A sentence on the runs whose search for a threshold stopped at an end of its range."""
    chosen = [(run, threshold(run)) for run in runs if run.facts["threshold"] == "validation"]
    ends = sorted(f"{run.loss} seed {run.seed} fold {run.fold}: {t:.8g}" for run, t in chosen if t and at_end(t))
    if not ends:
        return []
    return [
        f"In {len(ends)} of {count(len(runs), 'run')} the threshold that was chosen on the validation part is the "
        f"lowest or highest that was tried ({'; '.join(ends)}): a better one may lie beyond it, so differences to "
        "these runs may come from the search."
    ]


def _missing(of: Subject) -> list[Block]:
    if not of.collection.unfinished:
        return []
    numbers = pd.DataFrame(
        [
            {"run": relative(each.folder), "state": each.state, "epochs": each.epochs_done, "reason": each.reason}
            for each in of.collection.unfinished
        ]
    )
    columns = {"run": ("run", ""), "state": ("state", ""), "epochs": ("epochs done", "d"), "reason": ("reason", "")}
    title = f"Missing: {count(len(numbers), 'run')} without a result"
    return [
        table("missing", title, numbers, columns, note="The same command or sweep again goes on with them.", words=(2,))
    ]


def _others(of: Subject, draws: int) -> list[Block]:
    """Runs that differ in more than loss, network, seed and fold: apart, and why."""
    blocks: list[Block] = []
    for number, group in enumerate(of.collection.groups[1:], start=2):
        changes = differing(of.group, group)
        why = "; ".join(f"{key} is {theirs!r} instead of {ours!r}" for key, (ours, theirs) in changes.items())
        own = overview(tidy(group.runs), draws=draws)
        title = f"Group {number}: {count(len(group.runs), 'run')} that cannot be compared with the others"
        blocks.append(Table(f"group_{number}", own._replace(title=title, note=f"{why}. {own.note}"), folded=True))
    return blocks


METRICS = (
    ("DSC", METRIC["dsc"].definition),
    ("DSC, SEN, ΔA pooled", "The same from pixels added up over all images of a run. Large masses weigh more."),
    ("SEN", METRIC["sen"].definition),
    ("ΔA", METRIC["delta_a"].definition),
    ("false alarms on normals", METRIC["false_alarms"].definition),
    ("ACC", METRIC["acc"].definition),
    (
        "HAU, HAU95",
        "Largest distance, and largest directed 95th percentile, between the boundaries (pixels with one of 4 "
        "neighbours outside), from pixel centre to pixel centre, over the images with mass. Nothing predicted: the "
        "diagonal of the image, so that a miss is never left out. 'Hits': over the images where mass was found.",
    ),
    ("missed", METRIC["missed"].definition),
    ("predicted nothing", METRIC["prediction_empty"].definition),
    (
        "masses found, pieces",
        "Pieces are 8-connected parts of the prediction, masses the instances of the truth, matched one to one; a "
        "mass is found if its match has an IoU of at least 0.2 where nothing else is said. A piece is false if it "
        "touches no mass.",
    ),
    (
        "undefined",
        "A dash in tables, an empty cell in the CSV files; never counted as 0, and counted where it is left out.",
    ),
)


def methods(of: Subject) -> list[Block]:
    """The last section: definitions, the settings of the runs, the machines that they ran on, and the data."""
    shape = of.rows[["rows", "cols"]].drop_duplicates() if "rows" in of.rows else pd.DataFrame()
    sizes = listed([f"{rows} × {cols}" for rows, cols in shape.to_numpy().tolist()][:4])
    at = f" Measured at {sizes} pixels, the size of the cohort's images." if sizes else ""
    shared = yaml.safe_dump(of.facts, sort_keys=False, allow_unicode=True)
    return [
        Heading("Definition of each metric"),
        Words(f"Files hold fractions from 0 to 1, tables percent.{at}"),
        Pairs(METRICS, kind="terms"),
        Heading("Data"),
        Pairs(_data(of), kind="terms"),
        Heading("Experiment"),
        Code("What all runs have in common", shared),
        _runs(of),
        Code("experiment.yaml of the first run of each loss", _experiments(of)),
    ]


def _data(of: Subject) -> list[tuple[str, str]]:
    names = listed(sorted({str(run.experiment["cohort"]) for run in of.runs}))
    return [
        ("Cohort", names),
        ("Fingerprint", f"{of.facts['fingerprint']} (over the bytes of all images and masks)"),
        ("Licence", licence(of)),
    ]


def licence(of: Subject) -> str:
    """The licence line of the data: the cohort's, or the one that the weights carry."""
    if of.cohort is not None:
        return of.cohort.licence
    found = sorted({line for run in of.runs if (line := carried(run).get("data_licence"))})
    return " ".join(found) or "unknown: give --cohort"


def _runs(of: Subject) -> Table:
    """A line per run: what tells it from the others, and where it ran."""
    lines = []
    for run in of.runs:
        resolved = run.experiment.get("resolved") or {}
        versions = resolved.get("versions") or {}
        own = [f"{name} of {source}" for name, source in run.own_code.items()]
        lines.append(
            {
                "loss": run.loss,
                "network": run.network,
                "seed": run.seed,
                "fold": run.fold,
                "parameters": resolved.get("parameters", float("nan")),
                "images": len(run.rows),
                "threshold": "–" if (chosen := threshold(run)) is None else f"{chosen:.8g}",
                "device": str(resolved.get("device", "–")),
                "precision": str(resolved.get("precision", "–")),
                "versions": ", ".join([*(f"{name} {version}" for name, version in versions.items()), *own]) or "–",
                "folder": relative(run.folder),
            }
        )
    whole = ("seed", "fold", "parameters", "images")
    columns = {key: (key.replace("images", "test images"), "d" if key in whole else "") for key in lines[0]}
    return table("runs", f"All {count(len(lines), 'run')}", pd.DataFrame(lines), columns, folded=True, words=(8, 9))


def _experiments(of: Subject) -> str:
    """As they stand, one behind the other."""
    named = reversed(list(zip(of.runs, systems(of.runs), strict=True)))
    first = {f"{system} ({run.network})": run for run, system in named}
    texts = [(name, yaml.safe_dump(run.experiment, sort_keys=False, allow_unicode=True)) for name, run in first.items()]
    return "\n".join(f"# {name}\n{text}" for name, text in sorted(texts))
