"""The page of results says what the committed rows say."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

from massmatch.losses import LOSSES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """The scripts of the documentation import each other."""
    monkeypatch.syspath_prepend(str(DOCS))


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        return runpy.run_path(str(DOCS / "results.py"))


def test_the_page_tells_the_runs_and_the_nested_choice_of_the_committed_table(script):
    page = (DOCS / "results.md").read_text()
    rows = script["common_runs"](script["shared_runs"](script["table_rows"]()))
    for told in (script["runs_line"](rows), script["nested_choice"](rows)):
        assert told in page, "run python docs/results.py"


@pytest.mark.long
def test_the_whole_page_and_the_readme_are_what_the_committed_rows_give(script):
    for path in script["PAGES"]:
        page = path.read_text(encoding="utf-8")
        assert script["with_blocks"](page) == page, "run python docs/results.py"


def test_every_run_chose_its_threshold_from_the_whole_range(script):
    rows = script["table_rows"]()
    assert (rows["settings"].str.contains('"threshold": "validation"')).all()


def test_no_table_says_where_a_machine_keeps_its_files():
    for path in (DOCS / "results").glob("*.csv.gz"):
        for known in pd.read_csv(path, keep_default_na=False).get("computed", pd.Series(dtype=str)).unique():
            assert '"/' not in known, path.name


def test_an_unknown_mark_is_no_block(script):
    with pytest.raises(KeyError, match="other"):
        script["with_blocks"]("<!-- begin other -->\n<!-- end other -->")


def test_the_ideas_are_compared_in_pairs_that_differ_in_one_thing(script):
    grid = runpy.run_path(str(DOCS / "result_grid.py"))
    every = grid["pairs"]()
    assert [len(of) for of in every.values()] == [6, 6, 6, 6, 12]
    names = {name for of in every.values() for pair in of for name in pair}
    assert len(names) == 27
    assert names <= set(LOSSES)


def test_a_pair_is_compared_on_the_runs_that_both_have():
    grid = runpy.run_path(str(DOCS / "result_grid.py"))
    rows = pd.DataFrame(
        [("bce", 0, 0.2), ("bce", 1, 0.9), ("sm-bce-b-a", 0, 0.3), ("sm-bce-s-a", 2, 0.7)],
        columns=["loss", "fold", "dsc"],
    )
    rows = rows.assign(seed=0, id="a", patient="p", missed=False, train_images=8, tp=1, fp=1, fn=1, tn=1)
    head, lines = grid["ideas_lines"](rows)
    assert head[1:] == ["bce", "tversky", "dice", "pairs that gain"]
    assert lines[0][1:] == ["+10.0", "–", "–", "1 of 1"]
    assert all(line[1:] == ["–", "–", "–", "0 of 0"] for line in lines[1:])


def lead_rows(runs, **settings):
    """Rows of two images for each (loss, width, epochs, DSC), all with the same other settings."""
    lines = [
        {
            **{"loss": loss, "width": width, "settings": json.dumps({"epochs": epochs, "augment": "none"} | settings)},
            **{"id": id, "patient": id, "dsc": dsc, "fold": 0, "seed": 0, "train_images": 8},
        }
        for loss, width, epochs, dsc in runs
        for id in "ab"
    ]
    return pd.DataFrame(lines)


def test_the_lead_is_measured_within_each_network_and_budget():
    lead = runpy.run_path(str(DOCS / "result_lead.py"))
    soft = "soft-sm:random_phase=true"
    runs = [("hybrid", 8, 12, 0.3), (soft, 8, 12, 0.4), ("hybrid", 16, 12, 0.5), (soft, 16, 12, 0.45)]
    rows = lead["with_budget"](lead_rows([*runs, (soft, 32, 12, 0.6), ("bce", 8, 12, 0.9)]))
    table = lead["lead"](rows)
    assert table[["width", "epochs"]].to_numpy().tolist() == [[8, 12], [16, 12]]  # no baseline of width 32, no bce
    assert table["difference"].round(6).tolist() == [0.1, -0.05]
    _, lines = lead["lead_lines"](table)
    assert lines[0] == [f"`{soft}`", "8", "12", "none", "1", "30.0", "40.0", "+10.0 (10.0 to 10.0)"]
    assert [ax.get_xlabel() for ax in lead["draw_lead"](table).axes] == ["width of the network (epochs: 12)"]


def test_a_training_with_augmentation_is_compared_with_one_that_has_it_too():
    lead = runpy.run_path(str(DOCS / "result_lead.py"))
    plain, augmented = (
        lead_rows([("hybrid", 8, 12, base), ("boundary", 8, 12, 0.5)], augment=how)
        for how, base in (("none", 0.3), ("strong", 0.6))
    )
    table = lead["lead"](lead["with_budget"](pd.concat([plain, augmented])))
    assert dict(zip(table["augment"], table["difference"].round(6), strict=True)) == {"none": 0.2, "strong": -0.1}
    assert lead["draw_lead"](table).axes == []  # one width and one number of epochs without augmentation


def test_the_lead_is_measured_on_the_folds_that_every_network_was_tested_on():
    lead = runpy.run_path(str(DOCS / "result_lead.py"))
    soft = "soft-sm:random_phase=true"
    shared = lead_rows([(name, width, 12, 0.3) for name in ("hybrid", soft) for width in (8, 16)])
    more = lead_rows([("hybrid", 8, 12, 0.3), (soft, 8, 12, 0.9)]).assign(fold=1)
    table = lead["lead"](lead["with_budget"](pd.concat([shared, more])))
    assert table[["width", "runs", "difference"]].to_numpy().tolist() == [[8, 1, 0], [16, 1, 0]]


def test_runs_that_differ_in_more_than_the_budget_are_no_lead():
    lead = runpy.run_path(str(DOCS / "result_lead.py"))
    one, other = (lead_rows([("hybrid", 8, 12, 0.3)], learning_rate=rate) for rate in (1e-3, 1e-4))
    with pytest.raises(ValueError, match="more than width, epochs"):
        lead["with_budget"](pd.concat([one, other]))


def test_a_table_holds_only_what_was_tested_on_the_same_images(script):
    runs = [("hybrid", 0), ("hybrid", 1), ("bce", 0), ("bce", 1), ("dice", 0)]
    rows = pd.DataFrame(runs, columns=["loss", "fold"]).assign(model="aunet", width=8, seed=0, settings="{}")
    common = script["common_runs"](rows)
    assert common[["loss", "fold"]].to_numpy().tolist() == [["hybrid", 0], ["bce", 0], ["dice", 0]]


def test_the_table_of_several_seeds_holds_the_losses_with_several_on_the_runs_that_all_of_them_have(script):
    runs = [("hybrid", 0), ("hybrid", 1), ("hybrid", 2), ("bce", 0), ("bce", 1), ("dice", 0)]
    rows = pd.DataFrame(runs, columns=["loss", "seed"]).assign(model="aunet", width=8, fold=0, settings="{}")
    known = script["repeated"](rows)
    assert list(zip(known["loss"], known["seed"], strict=True)) == [*runs[:2], *runs[3:5]]


def test_a_single_training_is_named_by_what_it_differs_in_and_compared_on_its_own_folds():
    module = runpy.run_path(str(DOCS / "result_beside.py"))
    counts = {"missed": False, "tp": 1, "fp": 1, "fn": 1, "tn": 1, "val_dsc_pooled": 0.4}
    usual = lead_rows([("hybrid", 8, 12, 0.3)], ema=0).assign(model="aunet", **counts)
    table = pd.concat([usual, usual.assign(fold=1, dsc=0.9)])
    single = pd.concat(
        [
            lead_rows([("hybrid", 8, 12, 0.35)], ema=0.999).assign(model="aunet", **counts),
            lead_rows([("bce", 8, 12, 0.2)], ema=0).assign(model="arfnet", **{**counts, "val_dsc_pooled": 0.5}),
        ]
    )
    rows = module["beside"](single, table, "hybrid")
    assert rows["fold"].unique().tolist() == [0]
    head, lines = module["beside_lines"](rows, "hybrid")
    assert head[-1] == "DSC minus `hybrid`"
    assert [line[0] for line in lines] == ["`hybrid`", "`bce, arfnet`", "`hybrid, ema 0.999`"]  # by the validation part
    assert [line[-1] for line in lines] == ["", "-10.0 (-10.0 to -10.0)", "+5.0 (5.0 to 5.0)"]
    assert lines[1][1:5] == ["50.0", "20.0", "50.0", "0"]


def test_the_choice_has_a_line_for_each_network_and_view(script):
    lines = [("a", 1, both, part, 0.5, 0.4, 3) for both in (False, True) for part in ("test", "validation")]
    rows = pd.DataFrame(lines, columns=["network", "fold", "mirrored", "part", "dsc", "dsc_pooled", "missed"])
    printed = script["choice_table"](rows).splitlines()
    assert printed[2:] == [f"| a | 1 | {word} | 50.0 | 40.0 | 3 | 50.0 | 40.0 | 3 |" for word in ("no", "yes")]
