"""Tables show what was measured, in the paper's layout, and survive Markdown, LaTeX and CSV."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from made_up_runs import image_rows, system_rows
from massmatch.reports.masses import normal_images
from massmatch.reports.paper.tables import paper_table
from massmatch.reports.rendering import Line, Table, tex
from massmatch.reports.tables import differences, lesions, overview, stratified
from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import estimate

DRAWS = 200


def cell(table, name, heading):
    (line,) = [each for each in table.lines if each.name == name]
    return line.cells[table.headings.index(heading) - 1]


def two_systems(**options):
    return pd.concat([system_rows("hybrid", **options), system_rows("bce", -0.1, seed=1, **options)], ignore_index=True)


def as_loss(rows, loss, **changes):
    return rows.assign(system=loss, loss=loss, **changes)


# Rendering

ODD = Table(
    "100 % of a_b & c",
    ("loss", "ΔA ≥ 1", "x|y"),
    (Line("sm-s:cell_statistic=mean", ("1.0 ± 0.1", "−2"), strong=(0,)), Line("~b^{2}\\", ("< 0.001", "*"))),
    "Note: 5 % #1 $x$.",
    pd.DataFrame({"system": ["a,b"], "dsc": [1 / 3]}),
)


def test_markdown_has_as_many_columns_in_every_line():
    lines = [line for line in ODD.markdown().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert lines[1] == "| --- | ---: | ---: |"
    assert "| sm-s:cell\\_statistic=mean | **1.0 ± 0.1** | −2 |" in lines


def test_latex_escapes_everything_that_it_would_read_as_a_command():
    text = ODD.latex("tab:odd")
    for plain in (
        "a\\_b \\& c",
        "100 \\% of",
        "\\#1 \\$x\\$",
        "$\\Delta$A $\\geq$ 1",
        "\\textbf{1.0 $\\pm$ 0.1} & $-$2",
    ):
        assert plain in text
    assert "\\textasciitilde{}b\\textasciicircum{}\\{2\\}\\textbackslash{} & \\textless{} 0.001" in text
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [2, 2]
    assert "\\label{tab:odd}" in text
    assert text.isascii()


def test_every_sign_of_the_tables_is_ascii_in_latex():
    rows = two_systems(seeds=2)
    for table in (
        overview(rows, draws=DRAWS),
        differences(rows, "hybrid", draws=DRAWS),
        paper_table(1, rows, draws=DRAWS),
    ):
        assert table.latex().isascii()
    assert tex("é") == "é"


def test_a_wide_table_is_shrunk_to_the_text():
    narrow, wide = ODD.latex(), overview(two_systems(), draws=DRAWS).latex()
    assert "resizebox" not in narrow
    assert wide.count("\\resizebox{\\textwidth}{!}{%") == wide.count("\\end{tabular}}") == 1


def test_csv_holds_fractions_to_the_last_digit():
    back = pd.read_csv(io.StringIO(ODD.csv()))
    assert back["dsc"].tolist() == [1 / 3]
    rows = two_systems()
    table = pd.read_csv(io.StringIO(overview(rows, draws=DRAWS).csv()), float_precision="round_trip").set_index(
        "system"
    )
    found = estimate(rows[rows["system"] == "bce"], draws=DRAWS)
    assert table.loc["bce", ["dsc", "dsc_low", "dsc_high"]].tolist() == list(found[:3])


# Overview and differences


def test_the_overview_shows_mean_and_sd_over_runs_by_hand():
    head = {"system": "a", "seed": 0, "scheme": "kfold"}
    runs = [image_rows([0.2, 0.4], [f"p{f}", f"q{f}"]).assign(fold=f, **head) for f in (0, 1)]
    runs[1]["dsc"] += 0.2
    table = overview(pd.concat(runs), draws=DRAWS)
    assert cell(table, "a", "DSC") == "40.0 ± 14.1"
    assert cell(table, "a", "runs") == "2"
    assert cell(table, "a", "HAU px") == "70.0 ± 0.0"


def test_a_single_run_has_no_sd_and_no_bold():
    table = overview(system_rows("a", folds=1), draws=DRAWS)
    assert "±" not in cell(table, "a", "DSC")
    assert table.lines[0].strong == ()


def test_bold_is_the_best_mean_and_the_note_says_that_it_is_no_more():
    table = overview(two_systems(), draws=DRAWS)
    assert [line.name for line in table.lines] == ["hybrid", "bce"]
    best = {table.headings[i + 1] for i in table.lines[0].strong}
    assert {"DSC", "SEN", "HAU px"} <= best
    assert "Bold: best mean of its column, which need not be a supported difference" in table.note


def test_a_network_that_finds_one_easy_mass_is_not_best_over_its_hits():
    one = as_loss(image_rows([1.0, 0.0, 0.0]), "a", seed=0, fold=0)
    table = overview(pd.concat([one, as_loss(image_rows([0.9, 0.8, 0.7]), "b", seed=0, fold=0)]), draws=DRAWS)
    best = {line.name: {table.headings[i + 1] for i in line.strong} for line in table.lines}
    assert (cell(table, "a", "HAU px, hits"), cell(table, "b", "HAU px, hits")) == ("0.0", "20.0")
    assert "HAU px" in best["b"]
    assert "HAU px, hits" not in best["a"] | best["b"]


def test_misses_and_empty_predictions_are_shares_of_the_images_with_mass():
    """As many as INbreast has: 410 images, 107 of them with mass, 28 of these without a prediction."""
    rows = image_rows([0.0] * 28 + [0.5] * 79 + [1.0] * 303).assign(system="a", seed=0, fold=0)
    rows["truth_empty"] = rows.index >= 107
    careful, nervous = rows.assign(prediction_empty=rows["missed"] | rows["truth_empty"]), rows.assign(system="b")
    table = overview(pd.concat([careful, nervous.assign(prediction_empty=rows["missed"])]), draws=DRAWS)
    for heading in ("missed", "predicted nothing"):
        assert [cell(table, name, heading) for name in "ab"] == ["26.2", "26.2"]
        assert all(table.headings.index(heading) - 1 in line.strong for line in table.lines)
    assert "Missed, predicted nothing: shares over the images with mass." in table.note


def test_millimetres_are_shown_where_they_are_known():
    rows = system_rows("a")
    assert "HAU mm" not in overview(rows, draws=DRAWS).headings
    assert cell(overview(rows.assign(hau_mm=7.0), draws=DRAWS), "a", "HAU mm") == "7.0 ± 0.0"


def test_systems_with_other_runs_are_warned_of():
    rows = two_systems()
    short = rows[(rows["system"] == "hybrid") | (rows["fold"] == 0)]
    assert "Not all losses have the same runs" in overview(short, draws=DRAWS).note
    assert "Not all losses" not in overview(rows, draws=DRAWS).note


def test_differences_are_those_of_the_statistics():
    rows = two_systems(seeds=2)
    table, found = differences(rows, "hybrid", draws=DRAWS), against(rows, "hybrid", draws=DRAWS).iloc[0]
    assert cell(table, "bce", "difference") == f"−{-100 * found['difference']:.1f}"
    assert cell(table, "bce", "p (Holm)") == "< 0.001"
    assert cell(table, "bce", "better / worse / equal") == f"{found['better']} / {found['worse']} / {found['equal']}"
    assert table.values["p"].tolist() == [found["p"]]


@pytest.mark.parametrize(("others", "said"), [(1, "1 comparison of"), (2, "2 comparisons of")])
def test_the_comparisons_that_holm_corrects_are_counted(others, said):
    rows = pd.concat([two_systems(), *(system_rows(f"loss {n}") for n in range(1, others))])
    assert f"Holm over the {said} this table" in differences(rows, "hybrid", draws=DRAWS).note


def test_a_difference_of_pixels_added_up_shows_no_test():
    table = differences(two_systems(), "hybrid", "dsc_pooled", draws=DRAWS)
    assert cell(table, "bce", "p") == "–"
    assert "No test: the metric has no mean per patient." in table.note


@pytest.mark.parametrize(("metric", "unit"), [("dsc", "points"), ("hau_px", "pixels"), ("hau_mm", "mm")])
def test_a_difference_says_its_unit(metric, unit):
    """Millimetres were called pixels."""
    rows = two_systems().assign(hau_mm=5.0)
    assert f", in {unit}, on the same images" in differences(rows, "hybrid", metric, draws=DRAWS).note


# Strata and lesions


def test_strata_hold_every_image_once_and_the_same_for_all():
    rows = two_systems(patients=40)
    rows["mass_fraction"] = rows["id"].str[1:].astype(int) / 1000
    table = stratified(rows, "size", draws=DRAWS)
    assert [int(re.search(r"n = (\d+)", h)[1]) for h in table.headings[1:]] == [10, 10, 10, 10]
    by_hand = rows[(rows["system"] == "bce") & (rows["mass_fraction"] > 0.0293)]
    value = by_hand.groupby("fold")["dsc"].mean().mean()
    assert table.lines[1].cells[-1].startswith(f"{100 * value:.1f} (")


def test_density_and_view_make_strata_too():
    rows = two_systems().assign(view=lambda of: np.where(of["fold"] == 0, "CC", "MLO"))
    assert stratified(rows, "view", draws=DRAWS).headings == ("loss", "CC (n = 20)", "MLO (n = 20)")
    assert stratified(rows, "density", draws=DRAWS).headings == ("loss", "ACR 2 (n = 40)")


def test_masses_found_and_false_pieces_by_hand():
    head = {"system": "a", "seed": 0, "fold": 0}
    rows = image_rows([0.9, 0.1, 0.5], masses=[2, 1, 0], masses_found=[1, 0, 0], pieces_false=[0, 2, 4], **head)
    rows["truth_empty"] = [False, False, True]
    table = lesions(rows, draws=DRAWS)
    assert cell(table, "a", "found").startswith("33.3 (")
    assert cell(table, "a", "false per image").startswith("2.0 (")
    assert cell(table, "a", "false per image without mass") == "4.0"
    assert "Of 3 masses" in table.note


def test_alarms_on_normal_images_are_the_same_number_in_every_table():
    """One fold has two normal images, one of them with 8 pieces, the other fold has one without: 25 % and 2 pieces."""
    folds = [image_rows([0.5, *[0.0] * len(false)]).assign(fold=fold, pieces_false=[0, *false], fp=[9, *false])
             for fold, false in enumerate(([0, 8], [0]))]  # fmt: skip
    rows = pd.concat(folds, ignore_index=True).assign(system="a", seed=0)
    rows["truth_empty"], rows["prediction_empty"] = rows["dsc"] == 0, rows["fp"] == 0
    normal = normal_images(SimpleNamespace(rows=rows, order=["a"]))[1].table.values.iloc[0]
    assert normal["alarmed"] == overview(rows, draws=DRAWS).values["false_alarms"].item() == 0.25
    assert normal["pieces"] == lesions(rows, draws=DRAWS).values["pieces_false_normal"].item() == 2
    assert (normal["images"], normal["area_px"]) == (3, 2)


def test_false_pieces_on_normal_images_are_shown_where_one_run_holds_such_images():
    rows, heading = two_systems(), "false per image without mass"
    without = lesions(rows, draws=DRAWS)
    assert heading not in without.headings
    assert not [name for name in without.values if name.startswith("pieces_false_normal")]
    assert {len(line.cells) for line in without.lines} == {len(without.headings) - 1}
    rows["truth_empty"] = rows["system"] == "bce"
    table = lesions(rows, draws=DRAWS)
    assert cell(table, "bce", heading).startswith("1.0")
    assert cell(table, "hybrid", heading) == "–"


# The paper's layout


def test_table_1_has_the_papers_lines_and_the_plain_losses_that_it_lacks():
    rows = pd.concat([system_rows("hybrid"), as_loss(system_rows("x", 0.1), "sm-tversky-s-a")], ignore_index=True)
    table = paper_table(1, rows, draws=DRAWS)
    ours = [line.name for line in table.lines if line.kind != "published"]
    core = ["SM-B", "SM-D", "SM-S", "SM-SD"]
    assert ours == [
        "BCE alone",
        *(f"{name} BCE" for name in core),
        "Tversky alone",
        *(f"{name} Tversky" for name in core),
        "hybrid loss",
        "difference to the hybrid loss",
    ]
    assert {len(line.cells) for line in table.lines} == {10}
    assert cell(table, "SM-S Tversky, paper", "G-A DSC") == "77.24"
    assert cell(table, "SM-S Tversky, paper", "G-NZ HAU") == "4.96"
    assert cell(table, "SM-S Tversky", "G-NZ DSC") == "–"
    assert cell(table, "BCE alone", "G-A DSC") == "–"
    assert cell(table, "BCE alone", "G-NZ DSC") == ""


def test_our_cells_are_the_pooled_values_of_the_runs():
    rows = as_loss(system_rows("x"), "sm-bce-d-nz")
    pooled = [2 * run["tp"].sum() / (2 * run["tp"] + run["fp"] + run["fn"]).sum() for _, run in rows.groupby("fold")]
    table = paper_table(1, rows, draws=DRAWS)
    assert cell(table, "SM-D BCE", "G-NZ DSC") == f"{100 * np.mean(pooled):.1f} ± {100 * np.std(pooled, ddof=1):.1f}"
    own = table.values.set_index("loss").loc["sm-bce-d-nz"]
    assert own["dsc_pooled"] == pytest.approx(np.mean(pooled))
    assert own["paper_dsc"] == 0.7303


def test_the_difference_is_that_of_the_best_variant_and_the_note_names_it():
    rows = pd.concat(
        [
            system_rows("hybrid"),
            as_loss(system_rows("x", 0.1), "sm-dice-s-a"),
            as_loss(system_rows("x", 0.2), "sm-dice-d-a"),
        ],
        ignore_index=True,
    )
    table = paper_table(3, rows, draws=DRAWS)
    values = table.values.set_index("loss")["dsc_pooled"]
    gap = 100 * (values["sm-dice-d-a"] - values["hybrid"])
    assert cell(table, "difference to the hybrid loss", "G-A DSC") == f"+{gap:.1f}"
    assert cell(table, "difference to the hybrid loss", "G-NZ DSC") == "–"
    assert "(ours: SM-D Dice G-A)" in table.note
    assert "Not all losses have the same runs" not in table.note
    unlike = rows[(rows["loss"] == "hybrid") | (rows["fold"] == 0)]
    assert "Not all losses have the same runs" in paper_table(3, unlike, draws=DRAWS).note


def test_table_2_prints_the_papers_improvements():
    table = paper_table(2, system_rows("hybrid"), draws=DRAWS)
    last = table.lines[-1]
    assert last.kind == "published"
    assert last.cells == ("+11.92", "−14.19", "+21.43", "−0.45", "+0.32")
    assert cell(table, "AU-Net", "DSC") != "–"
    assert cell(table, "ARF-Net", "DSC") == "–"
    assert cell(table, "ARF-Net, paper", "HAU") == "–"


def test_table_2_takes_arf_net_from_its_own_runs():
    arf = as_loss(system_rows("x", -0.1), "hybrid", model="arfnet")
    table = paper_table(2, pd.concat([system_rows("hybrid"), arf], ignore_index=True), draws=DRAWS)
    values = table.values.set_index("method")["dsc_pooled"]
    assert values["AU-Net"] > values["ARF-Net"]


def test_a_loss_with_options_is_not_the_papers():
    rows = as_loss(system_rows("x"), "sm-bce-s-a:cell_statistic=mean")
    assert cell(paper_table(1, rows, draws=DRAWS), "SM-S BCE", "G-A DSC") == "–"


def test_another_network_takes_aunets_place_and_the_title_says_so():
    table = paper_table(1, system_rows("hybrid").assign(model="unet"), draws=DRAWS)
    assert table.title.endswith("(unet in place of AU-Net)")
    assert cell(table, "hybrid loss", "G-A DSC") != "–"


def test_two_widths_are_two_networks():
    rows = pd.concat([system_rows("hybrid"), system_rows("bce").assign(width=16)])
    with pytest.raises(ValueError, match=r"one width of aunet, but has \[8, 16\]"):
        paper_table(1, rows)
