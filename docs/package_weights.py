"""Puts the network of a run into the package, and writes its model card: `python docs/package_weights.py RUN COHORT`.

The weights go to src/massmatch/weights in float16, with all that predicting needs to know. They are then measured, as
they are in the file, on the test part of the run's fold: patients whom neither the weights nor the threshold have seen.
Of these images the one with the best, the median and the worst DSC (of equals, the first by id) go into the package as
examples.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from model_card import card

from massmatch.data import Cohort, open_cohort
from massmatch.inference.ensemble import Mirrored
from massmatch.inference.network import load_network
from massmatch.inference.packaged import CARD, EXAMPLES, PACKAGED
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import WEIGHTS, RunFolder
from massmatch.runs.weights import halve
from massmatch.training.evaluate import evaluate

CARDS = (Path(__file__).parent / "model_card.md", CARD)  # for the site, and for who has the wheel alone
LARGEST = 10_000_000  # bytes of the weights: the wheel is for everybody, also for those who train networks of their own
LARGEST_EXAMPLES = 300_000  # bytes, all together


def examples_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The ids of the best, the median and the worst image, a row each, with the kind."""
    ranked = rows.sort_values(["dsc", "id"], ascending=[False, True])["id"].tolist()
    worst = rows.sort_values(["dsc", "id"])["id"].iloc[0]
    return pd.DataFrame({"id": [ranked[0], ranked[len(ranked) // 2], worst], "kind": ["best", "median", "worst"]})


def copy_examples(cohort: Cohort, chosen: pd.DataFrame) -> None:
    """The images and masks of the examples, in the place of those that were there."""
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    paths = cohort.table.set_index("id")
    for folder, column in (("images", "image_path"), ("masks", "mask_path")):
        (EXAMPLES / folder).mkdir(parents=True)
        for id in chosen["id"]:
            shutil.copyfile(cohort.root / paths.loc[id, column], EXAMPLES / folder / f"{id}.png")
    chosen.to_csv(EXAMPLES / "examples.csv", index=False)


def as_today(run: RunFolder) -> dict[str, Any]:
    """The run's experiment with all fields that there are today, and its fold: what older weights do not say."""
    facts = run.experiment()
    known = {name: value for name, value in facts.items() if name in Experiment.model_fields}
    return {"experiment": Experiment(**known).model_dump(), "fold": facts["fold"]}


def main(run: RunFolder, cohort: Cohort) -> None:
    """All of it. Ends with a message where something is larger than a package should hold."""
    halve(run / WEIGHTS, PACKAGED, **as_today(run))
    if (size := PACKAGED.stat().st_size) > LARGEST:
        sys.exit(f"{PACKAGED} takes {size} bytes, more than {LARGEST}: package a narrower network")
    model, facts = load_network(PACKAGED)
    experiment, fold = Experiment(**facts["experiment"]), run.experiment()["fold"]
    parts = parts_of(experiment, cohort, fold)
    found = evaluate(model, cohort, parts.test, facts["threshold"])
    mirrored = None if experiment.augment == "none" else Mirrored(model).eval()  # others have never seen a mirror image
    tta = None if mirrored is None else evaluate(mirrored, cohort, parts.test, facts["threshold"])
    copy_examples(cohort, examples_of(found.rows))
    if (size := sum(path.stat().st_size for path in EXAMPLES.rglob("*.*"))) > LARGEST_EXAMPLES:
        sys.exit(f"{EXAMPLES} takes {size} bytes, more than {LARGEST_EXAMPLES}")
    for path in CARDS:
        path.write_text(card(PACKAGED, facts, run, parts, cohort, found, tta), encoding="utf-8")
    print(f"{PACKAGED}, {EXAMPLES}, {', '.join(map(str, CARDS))}")


if __name__ == "__main__":
    main(RunFolder.find(Path(sys.argv[1])), open_cohort(Path(sys.argv[2])))
