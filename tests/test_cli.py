"""The command line as a user meets it: real processes where exit codes matter."""

import os
import shutil
import subprocess
import sys
import warnings
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from made_up_reports import write_drawn_run
from massmatch.cli import app
from massmatch.cli.screen import told
from massmatch.losses import LOSSES
from massmatch.training.thresholds import THRESHOLDS


def massmatch(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "massmatch", *map(str, arguments)], capture_output=True, text=True, env=environment
    )


def asked(*arguments):
    """The same within this process, for what only has to be right."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (("predict", ".", "--out", "out"), "begins anew"),
        (("report", ".", "--out", "out"), "begins anew"),
        (("train", "."), "goes on from the last finished epoch"),
        (("prepare", "folder", ".", "out"), "goes on from the last finished image"),
    ],
    ids=lambda each: each[0],
)
def test_ctrl_c_says_what_the_same_command_will_do(command, again, tmp_path, monkeypatch):
    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for module in ("training.entry", "reports.page"):  # which would keep what stands in the place of the real ones
        import_module(f"massmatch.{module}")
    for called in (
        "cli.predicting.predict",
        "runs.collection.collect",
        "data.open_cohort",
        "data.preparation.entry.prepare",
    ):
        monkeypatch.setattr(f"massmatch.{called}", ctrl_c)
    result = asked(*command)
    assert (result.exit_code, result.stderr) == (130, f"interrupted; the same command again {again}\n")


TINY = ("--width", 2, "--scheme", "split", "--epochs", 1, "--precision", "float32", "--memory", "contiguous")


def test_losses_and_models_are_listed():
    listed = asked("losses").output
    assert all(name in listed for name in LOSSES)
    assert "cell_statistic" in listed
    assert "aunet" in asked("models").output


@pytest.mark.filterwarnings("always:this is the cohort that the network was trained on")
def test_train_evaluate_predict_compare(cohort, tmp_path):
    trained = asked("train", cohort.root, "--loss", "tversky", *TINY, "--threads", 1, "--out", tmp_path / "runs")
    assert trained.exit_code == 0, trained.output
    assert "DSC pooled" in trained.output
    (run,) = (tmp_path / "runs").glob("*/fold0")
    before = (run / "rows.csv").read_bytes()
    (run / "rows.csv").unlink()
    assert asked("evaluate", run, cohort.root).exit_code == 0
    assert (run / "rows.csv").read_bytes() == before

    elsewhere = asked("evaluate", run / "best.safetensors", cohort.root, "--out", tmp_path / "all")
    assert elsewhere.exit_code == 0
    assert pd.read_csv(tmp_path / "all/rows.csv")["id"].tolist() == cohort.ids

    page = asked("compare", cohort.root, run, "--page", tmp_path / "page.html", "--table", tmp_path / "table.md")
    assert page.exit_code == 0
    assert "| tversky |" in (tmp_path / "table.md").read_text()
    text = (tmp_path / "page.html").read_text()
    assert "made up" in text
    assert "data:image/jpeg;base64," in text
    assert "http" not in text  # nothing is fetched from elsewhere


def test_compare_refuses_runs_of_other_test_images_unless_told_to_show_them(trained, cohort, tmp_path):
    rows = pd.read_csv(trained / "rows.csv")
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    rows.assign(id="x" + rows["id"].astype(str)).to_csv(other / "rows.csv", index=False)
    table = tmp_path / "table.md"
    refused = asked("compare", cohort.root, trained, other, "--table", table)
    assert refused.exit_code == 2
    assert "tested other images" in refused.output
    assert "--unpaired" in refused.output
    assert not table.exists()
    shown = asked("compare", cohort.root, trained, other, "--unpaired", "--table", table)
    assert shown.exit_code == 0, shown.output
    assert f"({other}) {len(rows)}" in table.read_text()
    assert "Not the same test images" in table.read_text()


def test_compare_shows_a_dash_for_a_metric_that_rows_lack(trained, cohort, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    pd.read_csv(trained / "rows.csv").drop(columns=["delta_a", "hau_px", "sen"]).to_csv(other / "rows.csv", index=False)
    shown = asked("compare", cohort.root, trained, other)
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if line.startswith("│ ΔA  ")]
    assert line.split("│")[-2].strip() == "–"


def test_compare_refuses_images_of_the_same_names_with_other_masses_or_patients(trained, cohort, tmp_path):
    rows = pd.read_csv(trained / "rows.csv")
    tp, fp, fn = rows["tp"], rows["fp"], rows["fn"] + 5
    larger = {"fn": fn, "truth_empty": False, "sen": tp / (tp + fn), "iou": tp / (tp + fp + fn)}
    larger["dsc"] = 2 * tp / (2 * tp + fp + fn)
    for name, change in (("truth", larger), ("patient", {"patient": "another"})):
        other = tmp_path / name
        shutil.copytree(trained, other)
        rows.assign(**change).to_csv(other / "rows.csv", index=False)
        refused = asked("compare", cohort.root, trained, other)
        assert refused.exit_code == 2
        assert "images of the same names with other masses or patients" in " ".join(refused.output.split())
        assert "Not the same test images" in asked("compare", cohort.root, trained, other, "--unpaired").output


def test_compare_refuses_runs_of_another_cohort_whose_images_have_the_same_names(trained, cohort, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    facts = yaml.safe_load((other / "experiment.yaml").read_text())
    (other / "experiment.yaml").write_text(yaml.safe_dump({**facts, "fingerprint": "0123456789abcdef"}))
    refused = asked("compare", cohort.root, trained, other)
    assert refused.exit_code == 2
    assert "was trained on another cohort (0123456789abcdef)" in " ".join(refused.output.split())
    shown = asked("compare", cohort.root, trained, other, "--unpaired")
    assert shown.exit_code == 0, shown.output
    assert "differ in fingerprint" in " ".join(shown.output.split())


def test_compare_says_in_what_runs_differ_beside_their_losses(trained, cohort, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    facts = yaml.safe_load((other / "experiment.yaml").read_text())
    assert "not trained and measured alike" not in asked("compare", cohort.root, trained, other).output
    (other / "experiment.yaml").write_text(yaml.safe_dump({**facts, "epochs": 1}))
    table = tmp_path / "table.md"
    said = " ".join(asked("compare", cohort.root, trained, other, "--table", table).output.split())
    differ = f"they differ in epochs ({facts['epochs']} and 1), so that this is no comparison of losses"
    assert differ in said
    assert differ in table.read_text()  # the file is what is handed on
    for run, digest in ((trained, "00"), (other, "11")):
        shutil.copytree(run, tmp_path / digest)
        own = {"loss": "mine:Loss", "own_code": f"mine:Loss of mine without version, mine.py sha256 {digest}"}
        (tmp_path / digest / "experiment.yaml").write_text(yaml.safe_dump({**facts, **own}))
    alone = asked("compare", cohort.root, trained, tmp_path / "00").output
    assert "warning" not in alone
    resolved = {**facts["resolved"], "versions": {"massmatch": "0.0.1"}}
    (other / "experiment.yaml").write_text(yaml.safe_dump({**facts, "resolved": resolved}))
    said = " ".join(asked("compare", cohort.root, trained, other).output.split())
    assert "warning: Not all runs were made by the same version of massmatch (" in said
    said = " ".join(asked("compare", cohort.root, trained, tmp_path / "00", tmp_path / "11").output.split())
    assert "mine:Loss is not the same in all these runs (mine without version, mine.py sha256 00; mine" in said


def test_compare_names_the_network_where_the_runs_differ_in_it(trained, cohort, tmp_path):
    facts = yaml.safe_load((trained / "experiment.yaml").read_text())
    assert f"(aunet-w{facts['width']})" not in asked("compare", cohort.root, trained).output
    shutil.copytree(trained, tmp_path / "other")
    other = {"loss": "bce", "width": 64, "start": "packaged", "start_sha256": "ab" * 32}
    (tmp_path / "other/experiment.yaml").write_text(yaml.safe_dump({**facts, **other}))
    table = tmp_path / "table.md"
    assert asked("compare", cohort.root, trained, tmp_path / "other", "--table", table).exit_code == 0
    assert f"| {facts['loss']} (aunet-w{facts['width']}) |".replace("_", "\\_") in table.read_text()
    assert "| bce (aunet-w64 from packaged abababab) |" in table.read_text()


def test_compare_breaks_no_number_however_many_runs_there_are(trained, cohort, tmp_path):
    facts = yaml.safe_load((trained / "experiment.yaml").read_text())
    for width in range(101, 109):
        shutil.copytree(trained, tmp_path / f"{width}")
        (tmp_path / f"{width}/experiment.yaml").write_text(yaml.safe_dump({**facts, "width": width}))
    said = asked("compare", cohort.root, tmp_path).output
    pooled = [line.split("│")[2:-1] for line in said.splitlines() if line.startswith("│ DSC pooled")]
    assert len({cell.strip() for part in pooled for cell in part}) == 1
    assert sum(map(len, pooled)) == 8
    assert said.count("Percent but for HAU") == 1
    assert "missed, predicted nothing: how many images." in " ".join(said.split())


def test_compare_names_a_folder_of_a_run_that_was_never_started(trained, cohort, tmp_path):
    shutil.copytree(trained, tmp_path / "a" / "fold0")
    (tmp_path / "b" / "fold0").mkdir(parents=True)
    refused = asked("compare", cohort.root, tmp_path)
    assert refused.exit_code != 0
    assert "b/fold0 has no result, but is never started" in " ".join(refused.output.split()).replace(" b/", "b/")


def test_one_warning_is_said_once_however_many_places_give_it(capsys):
    with told(), warnings.catch_warnings():
        warnings.simplefilter("always")
        for text in ("one", "two", "one"):
            warnings.warn(text, RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: one\nwarning: two\n"


def test_compare_says_where_a_threshold_stands_at_an_end_of_the_search(cohort, tmp_path):
    """The report did; the table on the screen, and in a file, was silent."""
    for loss, by, threshold in (("hybrid", 1, 0.4), ("dice", 3, THRESHOLDS[-1])):
        folder = write_drawn_run(tmp_path / "runs", cohort, loss, by=by, threshold="validation")
        pd.read_csv(folder / "rows.csv").assign(threshold=threshold).to_csv(folder / "rows.csv", index=False)
    done = asked("compare", cohort.root, tmp_path / "runs", "--table", tmp_path / "table.md")
    for text in (done.output, (tmp_path / "table.md").read_text()):
        said = " ".join(text.split())
        assert "In 1 of 2 runs the threshold that was chosen on the validation part is the lowest or highest" in said
        assert "(dice seed 0 fold 0: 0.99999231)" in said


def test_compare_takes_a_folder_of_runs_and_shows_each_once(trained, cohort, tmp_path):
    for name in ("a/run", "b/run", "c/run"):  # of one loss, in folders of one name
        shutil.copytree(trained, tmp_path / "runs" / name)
    (tmp_path / "runs/sweep_0.json").write_text("{}")
    table = tmp_path / "table.md"
    done = asked("compare", cohort.root, tmp_path / "runs", tmp_path / "runs/a/run", "--table", table)
    assert done.exit_code == 0, done.output
    text = table.read_text()
    assert [text.count(f"/runs/{name}/run)") for name in "abc"] == [1, 1, 1]
    by_file = asked("compare", cohort.root, *sorted((tmp_path / "runs").iterdir()))
    assert by_file.exit_code == 2
    assert f"give {tmp_path}/runs for all runs in it" in by_file.output.replace("\n", " ")


@pytest.mark.filterwarnings("default:wide. no breast")
def test_predict_needs_nothing_but_the_weights_and_any_image(trained, tmp_path):
    weights = tmp_path / "moved.safetensors"
    weights.write_bytes((trained / "best.safetensors").read_bytes())
    wide = np.random.default_rng(0).integers(0, 65535, (90, 151), dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    done = asked("predict", tmp_path / "wide.png", "--weights", weights, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "wide: no breast was found on it: is it a mammogram?" in " ".join(done.output.split())
    mask = np.asarray(Image.open(tmp_path / "out/wide_mask.png"))
    assert mask.shape == (90, 151)
    assert set(np.unique(mask)) <= {0, 255}
    contour = np.asarray(Image.open(tmp_path / "out/wide_contour.png"))
    assert contour.shape[1:] == (151 * 4, 3)
    assert contour.shape[0] > 90 * 4  # the legend stands below the image


def test_predict_repeats_the_stored_probabilities_on_images_of_the_cohort(trained, cohort):
    from massmatch.data.images import read_grey
    from massmatch.inference.network import load_network, segment

    model, facts = load_network(str(trained))
    for stored in sorted((trained / "predictions").glob("*.png"))[:2]:
        image = read_grey(cohort.root, f"images/{stored.name}")
        found = segment(model, facts, image, None, stored.stem)
        before = np.asarray(Image.open(stored)) / 65535
        np.testing.assert_allclose(found, before, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("train", "{cohort}", "--loss", "sm-tverky-s-a"),
            2,
            "unknown loss 'sm-tverky-s-a'; did you mean 'sm-tversky-s-a'?",
        ),
        (("train", "{cohort}", "--loss", "tversky:smoth=1"), 2, "did you mean 'smooth'"),
        (("train", "{cohort}", "--model", "aunett"), 2, "unknown model 'aunett'; did you mean 'aunet'?"),
        (
            ("train", "{cohort}", "--scheme", "random"),
            2,
            "'random' is not one of",
        ),
        (("train", "{cohort}", "--epochs", "0"), 2, "--epochs"),
        (("train", "{cohort}", "--learning-rate", "0"), 2, "learning_rate: must be greater than 0, but is 0.0"),
        (("train", "{cohort}", "--threshold", "high"), 2, "threshold"),
        (("train", "{cohort}", "--fold", "7"), 2, "fold must be from 0 to 4"),
        (("train", "{tmp}/nowhere"), 2, "no such folder: {tmp}/nowhere"),
        (("train", "{tmp}"), 3, "images/: no such folder in {tmp}"),
        (
            ("predict", "{tmp}", "--weights", "{tmp}/no.safetensors", "--out", "{tmp}/o"),
            2,
            "no such weights: {tmp}/no.safetensors",
        ),
        (("predict", "{tmp}/no.png", "--run", "{run}", "--out", "{tmp}/o"), 2, "no such image: {tmp}/no.png"),
        (("predict", "{tmp}", "--weights", "{run}/rows.csv", "--out", "{tmp}/o"), 2, "holds no weights of massmatch"),
        (("losses", "show", "mine:Loss"), 2, "mine:Loss: give a name of `massmatch losses` alone"),
        (("compare", "{cohort}", "{tmp}"), 2, "holds no run"),
        (
            ("evaluate", "{run}/best.safetensors", "{cohort}"),
            2,
            "is a file: for weights give --out DIR",
        ),
        (("compare", "{run}", "{run}"), 2, "is a run, but the first argument is the cohort"),
        (("evaluate", "{run}", "{cohort}", "--out", "{run}"), 2, "--out: {run} is a run"),
        (("phantom", "{tmp}/p", "--patients", "0"), 2, "patients must be at least 1, but is 0"),
        (("phantom", "{tmp}/p", "--size", "32"), 2, "size must be at least 64, but is 32"),
        (("phantom", "{tmp}/p", "--seed", "-1"), 2, "seed must be at least 0, but is -1"),
        (("train", "{cohort}", "--clip", "inf"), 2, "clip: must be less than inf"),
        (("train", "{cohort}", "--seed", str(2**32)), 2, "seed: must be less than 4294967296"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line(arguments, code, message, cohort, trained, tmp_path):
    known = {"cohort": cohort.root, "tmp": tmp_path, "run": trained}
    result = asked(*(str(a).format(**known) for a in arguments))
    assert result.exit_code == code
    assert message.format(**known) in result.output
    assert "Traceback" not in result.output


def test_runs_of_another_cohort_are_not_compared(trained, tmp_path):
    asked("phantom", tmp_path / "p", "--patients", 2, "--size", 64)
    result = asked("compare", tmp_path / "p", trained)
    assert result.exit_code == 3
    assert "give the cohort of the runs" in " ".join(result.output.split())


def test_unknown_options_are_usage_errors_of_a_real_process(cohort):
    done = massmatch("train", cohort.root, "--lerning-rate", "1")
    assert done.returncode == 2
    assert "--learning-rate" in done.stderr  # the nearest one


def test_phantom_makes_a_cohort_once(tmp_path):
    for _ in range(2):
        made = asked("phantom", tmp_path / "p", "--patients", 2, "--size", 64)
        assert made.exit_code == 0
        assert "of 2 made-up patients" in made.output
    other = asked("phantom", tmp_path / "p", "--patients", 3, "--size", 64)
    assert other.exit_code == 2
    assert "of other patients (there 2, asked for 3)" in other.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "CoHoRt", "--threads", "0"], "--threads: must be greater than or equal to 1; see root train --help"),
        (
            ["train", "CoHoRt", "--scheme", "random"],
            "--scheme: 'random' is not one of 'kfold', 'paper', 'split', 'official'",
        ),
        (["check"], "Missing argument 'cohort'"),
        (["chek"], "No such command 'chek'"),
        (["phantom", "x", "--sise", "64"], "No such option: --sise"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(tmp_path, arguments, told):
    result = CliRunner().invoke(app, [str(tmp_path) if each == "CoHoRt" else each for each in arguments])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert f"massmatch: {told}" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "COHORT", "--folds", "0"], "folds must be at least 2, but is 0"),
        (["export-nnunet", "COHORT", "Dataset101_Mass", "--folds", "1"], "folds must be at least 2, but is 1"),
        (
            ["export-nnunet", "COHORT", "Dataset101_Mass", "--seed", "-1"],
            "seed must be from 0 to 4294967295, but is -1",
        ),
        (["phantom", "made", "--patients", str(10**24)], "patients must be at most 1000000"),
        (["phantom", "made", "--size", str(10**24)], "size must be at most 8192"),
        (["phantom", "made", "--normal-fraction", "nan"], "normal_fraction must be from 0 to 1, but is nan"),
        (["train", "COHORT", "--ema", "nan"], "--ema: must be greater"),
        (["train", "COHORT", "--width", str(10**24)], "width: "),
    ],
)
def test_numbers_that_cannot_be_are_told_in_one_line(cohort, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [str(cohort.root) if each == "COHORT" else each for each in arguments])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert f"massmatch: {told}" in result.output
