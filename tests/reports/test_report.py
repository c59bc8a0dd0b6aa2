"""A report says what the runs say, all of it, by itself, and the same each time."""

import re
import shutil

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from made_up_reports import HISTORY, write_drawn_run, write_drawn_runs
from made_up_runs import fail, image_rows, write_run
from massmatch.cli import app
from massmatch.errors import RunError
from massmatch.reports import files, page, rendering
from massmatch.reports.blocks import Section, Table
from massmatch.reports.files import write_tables
from massmatch.reports.page import write_report
from massmatch.reports.summary import summary
from massmatch.runs.collection import collect
from massmatch.training.thresholds import THRESHOLDS

DRAWS = 200  # of the bootstrap: enough for a page, not for a paper
HOSTILE = "<script>alert('x')</script> & \"<b>\""


@pytest.fixture(scope="module")
def runs(cohort, tmp_path_factory):
    return write_drawn_runs(tmp_path_factory.mktemp("reported") / "runs", cohort)


@pytest.fixture(scope="module")
def small(cohort, tmp_path_factory):
    """Two losses on one fold, for what does not need more."""
    runs = tmp_path_factory.mktemp("small") / "runs"
    write_drawn_run(runs, cohort, "hybrid", by=1)
    write_drawn_run(runs, cohort, "bce", by=3)
    return runs


def report(runs, out, cohort=None, **options):
    write_report(out / "report.html", collect(runs), cohort, draws=DRAWS, tables_in=out / "tables", **options)
    return (out / "report.html").read_text()


@pytest.fixture
def summary_only(monkeypatch):
    """Pages with no other section than the summary, for what is said there: they take a fifth of the time."""
    monkeypatch.setattr(
        page, "_sections", lambda of, pictured, draws: [Section("summary", "Summary", summary(of, draws))]
    )


@pytest.fixture(scope="module")
def reported(runs, cohort, tmp_path_factory):
    """The folder of a report with pictures."""
    out = tmp_path_factory.mktemp("report")
    report(runs, out, cohort, pictures=1)
    return out


def words(page):
    """What a reader reads: no style, no script, no marks."""
    text = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def section(page, anchor):
    return re.search(rf'<h2 id="{anchor}".*?</section>', page, re.DOTALL).group()


def test_the_same_runs_give_the_same_bytes(small, cohort, tmp_path):
    for name in ("one", "two"):
        report(small, tmp_path / name, cohort, pictures=1)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_the_page_holds_everything_itself(reported):
    page = (reported / "report.html").read_text()
    assert "http" not in page
    assert "url(" not in page
    assert set(re.findall(r'(?:src|href)="([^"#]{0,15})', page)) <= {"", "data:,", "data:image/jpeg"}


def test_every_section_is_there_and_reached_from_the_navigation(reported):
    page = (reported / "report.html").read_text()
    linked = re.findall(r'<li><a href="#([a-z0-9-]+)">', page)
    assert linked == [
        "summary",
        "losses",
        "paper",
        "differences",
        "training",
        "masses",
        "figure-3",
        "figure-4",
        "methods",
    ]
    assert all(page.count(f'id="{anchor}"') == 1 for anchor in linked)


def test_the_summary_counts_and_judges_each_loss_against_the_baseline(reported, cohort):
    page = section((reported / "report.html").read_text(), "summary")
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page))
    normal = int((cohort.mass_fraction == 0).sum())
    assert facts == {
        "losses": "4",
        "runs": "8",
        "folds": "2",
        "seeds": "1",
        "patients": "16",
        "test images": str(len(cohort)),
        "without mass": str(normal),
    }
    judged = [line for line in re.findall(r"<li>(.*?)</li>", page) if "hybrid" in line]
    assert len(judged) == 3
    assert any("tversky as trained here" in line and "is better than hybrid" in line for line in judged)
    assert "There is one seed" in page


def test_tables_are_written_three_times_and_csv_holds_fractions(reported):
    names = {path.stem for path in (reported / "tables").iterdir()}
    assert {"overview", "paper_table_1", "differences", "difference_to_baseline", "ranks", "spread"} <= names
    assert {"dsc_by_size", "dsc_by_density", "dsc_by_view", "masses", "froc", "froc_normal", "normal_images"} <= names
    assert {"figure_3a", "figure_3a_differences"} <= names
    for name in names:
        assert (reported / f"tables/{name}.md").read_text().count("| --- |") == 1
        assert r"\begin{tabular}" in (reported / f"tables/{name}.tex").read_text()
        assert len(pd.read_csv(reported / f"tables/{name}.csv"))
    overview = pd.read_csv(reported / "tables/overview.csv").set_index("system")
    assert overview["dsc"].between(0, 1).all()


def test_the_numbers_are_those_of_the_rows(reported, runs):
    rows = collect(runs).rows
    own = rows[rows["loss"] == "tversky"]
    mean = own[~own["truth_empty"]].groupby("fold")["dsc"].mean().mean()
    overview = pd.read_csv(reported / "tables/overview.csv").set_index("system")
    assert overview.at["tversky", "dsc"] == pytest.approx(mean)
    assert f"{100 * mean:.1f}" in section((reported / "report.html").read_text(), "losses")


def test_the_papers_numbers_stand_beside_ours_with_a_warning_above(reported):
    page = section((reported / "report.html").read_text(), "paper")
    assert page.index("not comparable with ours") < page.index("Table 1")
    assert '<tr class="published">' in page
    assert "77.24" in page


def test_froc_and_false_alarms_come_from_candidates_and_normal_images(reported, cohort):
    page = section((reported / "report.html").read_text(), "masses")
    assert "FROC curves." in page
    froc = pd.read_csv(reported / "tables/froc.csv").set_index("system")
    assert (
        froc.at["tversky", "at_8"] > froc.at["hybrid", "at_8"]
    )  # the hybrid one finds nothing in a third of the images
    assert (froc["cpm_low"] <= froc["cpm"]).all()
    assert (froc["cpm"] <= froc["cpm_high"]).all()
    assert "at so many false candidates per image without mass" in page
    normal = pd.read_csv(reported / "tables/normal_images.csv")
    assert normal["images"].tolist() == [int((cohort.mass_fraction == 0).sum())] * 4
    alarmed = normal.set_index("system").loc["sm-tversky-s-a"]
    assert (alarmed["alarmed"], alarmed["pieces"], alarmed["area_px"]) == (1, 1, 16)
    assert normal["alarmed"].sum() == 1


def test_figure_3a_sets_the_default_beside_the_option(reported):
    page = words(section((reported / "report.html").read_text(), "figure-3"))
    assert "DSC minus that with min" in page
    assert "Figure 3b" not in page
    found = pd.read_csv(reported / "tables/figure_3a_differences.csv")
    assert found["system"].tolist() == ["sm-tversky-s-a:cell_statistic=mean"]
    assert found["baseline"].tolist() == ["sm-tversky-s-a"]
    assert found["p_holm"].tolist() == found["p"].tolist()  # a family of one


@pytest.mark.usefixtures("summary_only")
def test_runs_that_computed_in_different_ways_are_named(small, tmp_path):
    shutil.copytree(small, tmp_path / "runs")
    assert "Not all runs computed" not in words(report(small, tmp_path / "same"))
    path = next((tmp_path / "runs").glob("*bce*/fold0/experiment.yaml"))
    facts = yaml.safe_load(path.read_text())
    facts["resolved"] |= {"precision": "bfloat16", "device": "cuda", "versions": {"massmatch": "0.0.1"}}
    path.write_text(yaml.safe_dump(facts))
    page = words(section(report(tmp_path / "runs", tmp_path / "other"), "summary"))
    assert re.search(r"not all runs computed with the same precision \(.*bfloat16: 1 run of bce", page, re.IGNORECASE)
    assert "Give --precision to have it the same in all." in page
    assert re.search(r"same device \(.*cuda: 1 run of bce", page)
    assert "the same memory" not in page
    assert re.search(r"the same version of massmatch \(.*0\.0\.1: 1 run of bce.*train the older ones again", page)


@pytest.mark.usefixtures("summary_only")
def test_runs_whose_threshold_stands_at_an_end_of_the_search_are_named(cohort, tmp_path):
    for loss, by, threshold in (("hybrid", 1, 0.4), ("tversky", 2, 0.95), ("dice", 3, THRESHOLDS[-1])):
        folder = write_drawn_run(tmp_path / "runs", cohort, loss, by=by, threshold="validation")
        pd.read_csv(folder / "rows.csv").assign(threshold=threshold).to_csv(folder / "rows.csv", index=False)
    page = report(tmp_path / "runs", tmp_path / "page")
    said = "In 2 of 3 runs the threshold that was chosen on the validation part is the lowest or highest that was tried"
    assert f"{said} (dice seed 0 fold 0: 0.99999231; tversky seed 0 fold 0: 0.95)" in words(page)


@pytest.mark.usefixtures("summary_only")
@pytest.mark.parametrize(("hybrid", "dice", "said"), [(0.35, 0.3512, True), (0.35, 0.95, False), (0.3512, 0.7, True)])
def test_runs_that_searched_the_threshold_in_two_ranges_are_told_apart(cohort, tmp_path, hybrid, dice, said):
    for loss, by, chosen in (("hybrid", 1, hybrid), ("dice", 3, dice)):
        folder = write_drawn_run(tmp_path / "runs", cohort, loss, by=by, threshold="validation")
        pd.read_csv(folder / "history.csv").assign(val_threshold=chosen).to_csv(folder / "history.csv", index=False)
    page = words(report(tmp_path / "runs", tmp_path / "page"))
    older = "hybrid" if hybrid == 0.35 else "dice"
    assert (f"1 run of {older} searched the threshold from 0.05 to 0.95" in page) == said


@pytest.mark.usefixtures("summary_only")
def test_a_fixed_threshold_stands_at_no_end(cohort, tmp_path):
    folder = write_drawn_run(tmp_path / "runs", cohort, "hybrid", threshold=0.95)
    pd.read_csv(folder / "rows.csv").assign(threshold=0.95).to_csv(folder / "rows.csv", index=False)
    assert "that was tried" not in words(report(tmp_path / "runs", tmp_path / "page"))


def test_figure_4_shows_each_loss_on_each_image_and_names_the_rule(reported):
    page = section((reported / "report.html").read_text(), "figure-4")
    titles = re.findall(r"<h3>(\w+): ([^<]+)</h3>", page)
    assert [kind for kind, _ in titles][:3] == ["Best", "Median", "Worst"]
    assert len({id for _, id in titles}) == len(titles)
    assert page.count("<svg role=") == 5 * len(titles)  # the mammogram, and four losses
    assert "Lowest mean DSC among the images in which at least one of the losses" in page
    best = next(id for kind, id in titles if kind == "Best")
    assert f"{best} with the contours of the truth and of tversky: DSC" in page


def test_a_mammogram_is_held_once_however_often_it_is_shown(reported):
    page = (reported / "report.html").read_text()
    shown = re.findall(r'<use href="#(image-[^"]+)"', page)
    assert page.count("data:image/jpeg") == len(set(shown)) < len(shown)


def test_methods_tell_data_licence_versions_and_definitions(reported, cohort):
    page = words((reported / "report.html").read_text())
    for said in (cohort.fingerprint, "made up", "torch 2.13.0", "HAU, HAU95", "never to choose by", "parameters"):
        assert said in page, said
    assert page.count("For research, not for diagnosis") == 2


def test_without_a_cohort_the_report_has_no_pictures_and_says_why(small, tmp_path):
    page = report(small, tmp_path)
    assert "<image" not in page
    assert "No pictures: no cohort was given" in page
    assert "Licence" in page


def test_with_another_cohort_the_report_has_no_pictures_and_names_both(small, cohort, tmp_path):
    from massmatch.data import phantoms, write_cohort

    other = write_cohort(phantoms(2, seed=9, size=64), tmp_path / "other", reader="phantom", options={}, licence="x")
    page = report(small, tmp_path, other)
    assert "<image" not in page
    assert f"{other.fingerprint}, but the runs were trained on {cohort.fingerprint}" in page
    arguments = ["report", small, "--cohort", other.root, "--out", tmp_path / "none"]
    refused = CliRunner().invoke(app, list(map(str, arguments)))  # whoever gives a cohort wants its pictures
    assert refused.exit_code == 3
    assert f"but the runs were trained on {cohort.fingerprint}" in " ".join(refused.output.split())
    assert not (tmp_path / "none").exists()


def test_hostile_names_stay_text(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, HOSTILE)
    write_drawn_run(tmp_path / "runs", cohort, "bce", by=3)
    fail(tmp_path / "runs" / "x" / "fold0", reason=HOSTILE)
    page = report(tmp_path / "runs", tmp_path, cohort, title=HOSTILE, remark=HOSTILE, pictures=1)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert page.count("<script>") == 1  # the one that sorts tables
    assert "<script>" not in (tmp_path / "tables/overview.md").read_text()


@pytest.mark.usefixtures("summary_only")
def test_runs_without_a_result_are_listed_with_their_reason(small, tmp_path):
    shutil.copytree(small, tmp_path / "runs")
    fail(tmp_path / "runs/failed/fold0", reason="out of memory on the third epoch")
    write_run(tmp_path / "runs", loss="dice", done=False)
    page = words(section(report(tmp_path / "runs", tmp_path), "summary"))
    assert "2 runs without a result" in page
    assert "out of memory on the third epoch" in page
    assert "no DONE: 3 of 3 epochs are written" in page


def test_a_single_run_makes_a_report(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid", by=2)
    page = words(report(tmp_path / "runs", tmp_path, cohort, pictures=1))
    assert "There is one loss only" in page
    assert "1 loss, 1 run" in page


def test_missing_candidates_are_said(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid", candidates=False)
    write_drawn_run(tmp_path / "runs", cohort, "bce", by=3)
    assert "Without candidates.csv, and so not shown: hybrid." in words(report(tmp_path / "runs", tmp_path))
    write_drawn_run(tmp_path / "runs", cohort, "tversky", by=3, fold=1)
    report(tmp_path / "runs", tmp_path)
    assert "Not all losses have the same runs" in (tmp_path / "tables/froc.md").read_text()
    (tmp_path / "runs/tversky_seed0/fold1/candidates.csv").unlink()
    (tmp_path / "runs/bce_seed0/fold0/candidates.csv").unlink()
    assert "No FROC curve: the runs hold no candidates.csv" in words(report(tmp_path / "runs", tmp_path))


def test_a_froc_that_shows_less_than_was_found_is_said_to_understate(cohort, tmp_path):
    """Of a network below 0.1 everywhere, which finds masses at its threshold, and has no candidate."""
    write_drawn_run(tmp_path / "runs", cohort, "hybrid", by=1)
    faint = write_drawn_run(tmp_path / "runs", cohort, "bce", by=1)
    for name, change in {"rows": lambda of: of.assign(threshold=0.05), "candidates": lambda of: of.iloc[:0]}.items():
        change(pd.read_csv(faint / f"{name}.csv")).to_csv(faint / f"{name}.csv", index=False)
    found = collect(tmp_path / "runs").rows.query("system == 'bce'")
    share = 100 * found["masses_found"].sum() / found["masses"].sum()
    page = report(tmp_path / "runs", tmp_path)
    for part in (section(page, "summary"), section(page, "masses")):
        assert "The FROC understates bce" in words(part)
        assert f"it found {share:.1f} % of the masses" in words(part)
        assert "but its curve has 0.0 % at" in words(part)
        assert "The FROC understates hybrid" not in words(part)
    assert "The threshold of the run plays no part." in words(section(page, "masses"))
    shutil.rmtree(tmp_path / "runs/hybrid_seed0")
    alone = words(section(report(tmp_path / "runs", tmp_path), "masses"))
    assert "The FROC understates bce" in alone
    assert "no candidates.csv" not in alone


def test_a_missing_prediction_is_no_crash(cohort, tmp_path):
    folder = write_drawn_run(tmp_path / "runs", cohort, "hybrid")
    shutil.rmtree(folder / "predictions")
    assert "No pictures:" in report(tmp_path / "runs", tmp_path, cohort)


def test_a_run_that_learned_nothing_is_named(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid", by=1)
    write_drawn_run(tmp_path / "runs", cohort, "dice", by=None, history={**HISTORY, "val_dsc_pooled": [0, 0.01, 0]})
    page = words(section(report(tmp_path / "runs", tmp_path), "training"))
    assert "1 of 2 runs learned nothing or fell back" in page
    table = pd.read_csv(tmp_path / "tables/convergence.csv").set_index("system")
    assert table.loc["dice", "none"] == 1
    assert "hybrid" not in table.index


def test_a_loss_that_became_nan_breaks_its_curve_and_no_more(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid", history={**HISTORY, "loss": [0.9, float("nan"), 0.4]})
    page = report(tmp_path / "runs", tmp_path)
    pieces = re.findall(r'points="([^"]*)"', section(page, "training"))
    assert len(pieces) == 3  # one of the DSC, and the loss in two
    assert all(re.fullmatch(r"[\d., ]+", points) for points in pieces)


@pytest.mark.usefixtures("summary_only")
def test_runs_of_another_budget_stand_apart_with_what_differs(cohort, tmp_path):
    for loss in ("hybrid", "bce"):
        write_drawn_run(tmp_path / "runs", cohort, loss)
    write_drawn_run(tmp_path / "runs", cohort, "tversky", epochs=2)
    page = words(section(report(tmp_path / "runs", tmp_path), "summary"))
    assert "epochs is 2 instead of 3" in page
    assert "Group 2: 1 run that cannot be compared" in page


def test_a_loss_of_ones_own_that_was_changed_between_runs_is_said_and_shown_as_two(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid")
    for seed, digest in enumerate(("00", "11")):
        own_code = f"mine:Loss of mine without version, mine.py sha256 {digest}"
        write_drawn_run(tmp_path / "runs", cohort, "mine:Loss", by=2, seed=seed, own_code=own_code)
    page = words(report(tmp_path / "runs", tmp_path))
    assert "mine:Loss is not the same in all runs (mine without version, mine.py sha256 00 and mine without" in page
    assert "cannot be compared" not in page
    overview = pd.read_csv(tmp_path / "tables/froc.csv").set_index("system")
    assert [len(system) > len("mine:Loss") for system in overview.index if "mine" in system] == [True, True]


def test_a_network_of_two_starts_is_two_networks_in_every_section(cohort, tmp_path):
    for loss in ("hybrid", "sm-tversky-s-a"):
        write_drawn_run(tmp_path / "runs", cohort, loss)
    other = {"start": "packaged", "start_sha256": "ab" * 32}
    write_drawn_run(tmp_path / "more", cohort, "hybrid", by=2, **other)
    write_drawn_run(tmp_path / "more", cohort, "sm-tversky-s-a:cell_statistic=mean", by=2, **other)
    write_report(tmp_path / "report.html", collect(tmp_path / "runs", tmp_path / "more"), None, draws=DRAWS)
    page = (tmp_path / "report.html").read_text()
    paper = words(section(page, "paper"))
    assert "Not here: aunet-w8 and aunet-w8 from packaged abababab were run" in paper
    assert "no loss was run with and without cell_statistic=mean" in words(section(page, "figure-3"))


def test_runs_of_one_fold_that_tested_other_images_are_said_and_pictured_where_they_agree(cohort, tmp_path):
    for loss in ("hybrid", "bce"):
        folder = write_drawn_run(tmp_path / "runs", cohort, loss)
    rows = pd.read_csv(folder / "rows.csv").iloc[:-1]
    rows.to_csv(folder / "rows.csv", index=False)
    candidates = pd.read_csv(folder / "candidates.csv")
    candidates[candidates["id"].isin(rows["id"])].to_csv(folder / "candidates.csv", index=False)
    resolved = yaml.safe_load((folder / "experiment.yaml").read_text())
    resolved["resolved"]["images"]["test"] = len(rows)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(resolved))
    page = words(report(tmp_path / "runs", tmp_path, cohort))
    assert "Runs of the same seed and fold tested other images" in page
    assert f"on the same {len(rows)} test images" in page


@pytest.mark.usefixtures("summary_only")
@pytest.mark.parametrize(
    ("runs", "settings", "said"),
    [
        ([(0, 0), (0, 2)], {"folds": 3}, "2 of 3 folds: the others and their test images are missing."),
        ([(0, 1)], {"folds": 3, "scheme": "paper"}, "1 of 3 folds: the others"),
        ([(0, 0), (0, 1), (1, 0)], {"folds": 2}, "3 of 4 folds, 2 of each seed: the others"),
        ([(0, 0), (0, 1)], {"folds": 2}, None),
        ([(0, 0)], {"folds": 5, "scheme": "split"}, None),
        ([(0, 0), (1, 0)], {"folds": 5, "scheme": "official"}, None),
    ],
)
def test_folds_that_a_cross_validation_lacks_are_said_once(runs, settings, said, tmp_path):
    for seed, fold in runs:
        rows = image_rows([0.2, 0.6], ids=[f"{fold}a", f"{fold}b"])
        write_run(tmp_path / "runs", seed=seed, fold=fold, rows=rows, **settings)
    page = words(report(tmp_path / "runs", tmp_path))
    assert page.count("test images are missing") == (said is not None)
    assert said is None or said in page


@pytest.mark.usefixtures("summary_only")
def test_images_that_are_tested_in_two_folds_are_said(tmp_path):
    for fold in (0, 1):
        write_run(tmp_path / "runs", fold=fold)
    assert "Images were tested in several folds of one seed" in words(report(tmp_path / "runs", tmp_path))


@pytest.mark.usefixtures("summary_only")
def test_a_test_part_without_any_mass_is_said(tmp_path):
    rows = image_rows([0.0, 0.0]).assign(truth_empty=True, missed=False, tp=0, fp=0, fn=0, dsc=1.0, iou=1.0, sen=1.0)
    for loss in ("hybrid", "bce"):
        write_run(tmp_path / "runs", rows=rows.assign(prediction_empty=True), loss=loss)
    page = words(report(tmp_path / "runs", tmp_path))
    assert "No test image holds a mass" in page
    assert "bce and hybrid have no test image in common for which DSC is defined." in page
    assert "learned nothing" not in page


def test_reconstructions_are_marked(cohort, tmp_path):
    write_drawn_run(tmp_path / "runs", cohort, "hybrid")
    write_drawn_run(tmp_path / "runs", cohort, "asp-q", by=3)
    assert "Reconstructions: asp-q." in words(report(tmp_path / "runs", tmp_path))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{runs}", "--baseline", "hybird"), 2, "--baseline must be one of"),
        (("{tmp}/nowhere",), 2, "no such folder"),
        (("{tmp}",), 2, "no runs here"),
        (("{failed}",), 2, "no run is finished"),
        (("{runs}", "--cohort", "{tmp}/nowhere"), 2, "no such folder: {tmp}/nowhere"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line(arguments, code, message, runs, tmp_path):
    fail(tmp_path.parent / f"{tmp_path.name}-failed" / "run" / "fold0")
    known = {"runs": runs, "tmp": tmp_path, "failed": tmp_path.parent / f"{tmp_path.name}-failed"}
    given = ["report", *(str(a).format(**known) for a in arguments), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == code
    assert message.format(**known) in result.output
    assert "Traceback" not in result.output


def test_the_command_writes_page_and_tables(small, cohort, tmp_path):
    given = [
        "report",
        str(small),
        "--cohort",
        str(cohort.root),
        "--out",
        str(tmp_path),
        "--pictures",
        "0",
        "--draws",
        "100",
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    assert (tmp_path / "tables/overview.tex").is_file()


def raising(error):
    def call(*_):
        raise error

    return call


def test_tables_of_an_earlier_report_do_not_stay_beside_those_of_a_later_one(tmp_path, monkeypatch):
    names = ("overview", "ranks")
    drawn = {
        name: Table(name, rendering.Table("t", ("loss",), (), "", pd.DataFrame({"loss": ["bce"]}))) for name in names
    }
    write_tables(tmp_path, list(drawn.values()))
    (tmp_path / "notes.md").write_text("one's own")
    write_tables(tmp_path, [drawn["overview"]])
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"overview.md", "overview.tex", "overview.csv", "notes.md"}
    monkeypatch.setattr(files, "write_atomic", raising(RunError("disk full")))
    with pytest.raises(RunError, match="disk full"):
        write_tables(tmp_path, list(drawn.values()))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]


@pytest.mark.usefixtures("summary_only")
def test_a_report_that_is_stopped_leaves_no_earlier_page_beside_its_tables(small, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("an earlier one")
    monkeypatch.setattr(page, "write_tables", raising(RunError("disk full")))
    with pytest.raises(RunError, match="disk full"):
        page.report(small, out=tmp_path, draws=DRAWS)
    assert not (tmp_path / "report.html").exists()
