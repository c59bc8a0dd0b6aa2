"""Run folders are found, told apart, and put together only where they belong together."""

import shutil

import pytest

from made_up_runs import fail, image_rows, write_run
from massmatch.errors import UsageError
from massmatch.runs.collection import changed_code, collect, comparable_groups, differing, systems, tidy
from massmatch.runs.folder import run_folders

PIECES = "id,score,mass,iou,mass_at_centre\n"


def only(collection):
    assert collection.finished == []
    (found,) = collection.unfinished
    return found


def test_a_finished_run_is_read_whole(tmp_path):
    folder = write_run(tmp_path, loss="bce", seed=3, fold=1)
    (run,) = collect(tmp_path).finished
    assert (run.folder, run.loss, run.model, run.width, run.seed, run.fold) == (folder, "bce", "aunet", 8, 3, 1)
    assert run.rows["dsc"].tolist() == [0.2, 0.6]
    assert run.history["epoch"].tolist() == [1, 2, 3]
    assert run.candidates is None


def test_a_run_of_the_training_is_a_finished_run(trained, cohort):
    (run,) = collect(trained.parent).finished
    assert set(run.rows["id"]) <= set(cohort.ids)
    assert run.facts["fingerprint"] == cohort.fingerprint
    assert len(tidy([run], "history")) == run.experiment["epochs"]


@pytest.mark.parametrize("name", ["[1] my runs", "a*b?", "größer", "sm-s:smooth=0.1,cell_size=[8]"])
def test_row_58_brackets_blanks_and_stars_in_names_do_no_harm(tmp_path, name):
    folder = write_run(tmp_path / name)
    assert [run.folder for run in collect(tmp_path).finished] == [folder]
    assert [run.folder for run in collect(tmp_path / name).finished] == [folder]


def test_folders_may_overlap_and_link_to_each_other(tmp_path):
    folder = write_run(tmp_path / "runs")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert len(run_folders(tmp_path / "runs", folder, folder.parent, tmp_path / "link")) == 1


def test_ids_that_are_numbers_or_na_stay_text(tmp_path):
    rows = image_rows([0.1, 0.2, 0.3], ["007", "NA", "1e5"], ids=["007", "NA", "20586908"])
    write_run(tmp_path, rows=rows)
    found = collect(tmp_path).rows
    assert found["id"].tolist() == ["007", "NA", "20586908"]
    assert found["patient"].tolist() == ["007", "NA", "1e5"]


def test_candidates_are_read_where_they_are(tmp_path):
    folder = write_run(tmp_path)
    (folder / "candidates.csv").write_text(PIECES + "i000,0.5,0,0,0\ni000,0.25,0,0,0\n")
    write_run(tmp_path, loss="bce")
    found = tidy(collect(tmp_path).finished, "candidates")
    assert found[["system", "score"]].to_numpy().tolist() == [["hybrid", 0.5], ["hybrid", 0.25]]


# Unfinished


def test_a_failed_run_gives_its_reason_in_one_line(tmp_path):
    fail(write_run(tmp_path, done=False), "the loss is nan\nin epoch 2")
    found = only(collect(tmp_path))
    assert (found.state, found.reason, found.epochs_done) == ("failed", "the loss is nan in epoch 2", 3)
    assert found.experiment["loss"] == "hybrid"


def test_a_run_may_fail_before_it_has_written_anything(tmp_path):
    fail(tmp_path / "x" / "fold0", "unknown loss")
    found = only(collect(tmp_path))
    assert (found.state, found.reason, found.epochs_done) == ("failed", "unknown loss", 0)


def test_a_run_without_done_was_interrupted_even_with_all_rows(tmp_path):
    write_run(tmp_path, done=False)
    found = only(collect(tmp_path))
    assert (found.state, found.reason) == ("interrupted", "no DONE: 3 of 3 epochs are written")


def test_an_empty_fold_was_never_started(tmp_path):
    (tmp_path / "x" / "fold4").mkdir(parents=True)
    assert only(collect(tmp_path)).state == "never started"


DAMAGE = {
    "rows.csv: cannot be read": ("rows.csv", b""),
    "rows.csv: lacks the columns patient": ("rows.csv", b"id,dsc,tp,fp,fn,tn\na,1,1,1,1,1\n"),
    "rows.csv: holds no row": ("rows.csv", b"id,patient,dsc,tp,fp,fn,tn,truth_empty,prediction_empty,missed\n"),
    "history.csv: cannot be read": ("history.csv", b"epoch\n\xff\xfe"),
    "experiment.yaml: cannot be read": ("experiment.yaml", b"loss: [a"),
    "experiment.yaml: lacks loss, model": ("experiment.yaml", b"seed: 1"),
    "experiment.yaml: lacks loss, model, width, seed, fold, fingerprint": ("experiment.yaml", b""),
}


@pytest.mark.parametrize("expected", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(tmp_path, expected):
    folder = write_run(tmp_path)
    file, content = DAMAGE[expected]
    (folder / file).write_bytes(content)
    found = only(collect(tmp_path))
    assert found.state == "damaged"
    assert expected in found.reason
    assert "\n" not in found.reason


def test_rows_that_were_cut_off_between_two_lines_are_noticed(tmp_path):
    folder = write_run(tmp_path)
    lines = (folder / "rows.csv").read_text().splitlines(keepends=True)
    (folder / "rows.csv").write_text("".join(lines[:-1]))
    assert "holds 1 images, but the run tested 2" in only(collect(tmp_path)).reason


def test_an_image_that_comes_twice_is_noticed(tmp_path):
    write_run(tmp_path, rows=image_rows([0.1, 0.2], ids=["a", "a"]))
    assert "rows.csv: id a comes twice" in only(collect(tmp_path)).reason


def test_pieces_of_an_image_that_was_not_tested_are_noticed(tmp_path):
    (write_run(tmp_path) / "candidates.csv").write_text(PIECES + "i000,0.5,0,0,0\ni009,0.25,0,0,0\n")
    assert "candidates.csv: i009 is no image of rows.csv" in only(collect(tmp_path)).reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("i000,0.5,0,0,0\n", "holds no piece of i001, where rows.csv has something predicted"),
        ("i000,0.5,0,0,0\ni001,0.5", "iou must hold a number in each row, but holds ''"),
    ],
)
def test_candidates_that_were_cut_off_are_damaged(tmp_path, text, said):
    (write_run(tmp_path, rows=image_rows([0.2, 0.6]).assign(threshold=0.5)) / "candidates.csv").write_text(
        PIECES + text
    )
    assert said in only(collect(tmp_path)).reason


def test_a_missing_file_is_named(tmp_path):
    (write_run(tmp_path) / "rows.csv").unlink()
    assert "rows.csv" in only(collect(tmp_path)).reason


def test_one_damaged_run_leaves_the_others(tmp_path):
    (write_run(tmp_path) / "rows.csv").write_text("")
    write_run(tmp_path, loss="bce")
    found = collect(tmp_path)
    assert [run.loss for run in found.finished] == ["bce"]
    assert len(found.unfinished) == 1


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_a_place_without_runs_is_an_error_that_names_it(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=name):
        collect(tmp_path / name)


def test_the_same_run_in_two_places_would_count_twice(tmp_path):
    write_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="hold the same run: it would count twice"):
        collect(tmp_path)


# What belongs together


def test_runs_that_vary_loss_model_width_seed_and_fold_belong_together(tmp_path):
    changes = [{}, {"loss": "bce"}, {"model": "unet", "loss": "tversky"}, {"width": 16}, {"seed": 1}]
    for change in changes:
        write_run(tmp_path, **change)
    write_run(tmp_path, fold=1)
    (group,) = collect(tmp_path).groups
    assert len(group.runs) == 6


@pytest.mark.parametrize(
    "change", [{"fingerprint": "f" * 16}, {"epochs": 9}, {"scheme": "paper"}, {"threshold": 0.4}, {"folds": 5}]
)
def test_another_cohort_budget_scheme_or_threshold_makes_another_group(tmp_path, change):
    write_run(tmp_path)
    write_run(tmp_path, loss="bce")
    write_run(tmp_path, loss="dice", **change)
    large, small = collect(tmp_path).groups
    assert [run.loss for run in small.runs] == ["dice"]
    assert set(differing(large, small)) == set(change)


def test_an_option_that_came_later_has_its_default(tmp_path):
    """Runs from before `adversarial` existed belong to those that say 0."""
    write_run(tmp_path)
    write_run(tmp_path, loss="bce", adversarial=0.0)
    write_run(tmp_path, loss="dice", adversarial=0.5)
    assert [len(group.runs) for group in collect(tmp_path).groups] == [2, 1]


OLD, NEW = "mine without version, mine.py sha256 00", "mine without version, mine.py sha256 11"


def test_a_loss_of_ones_own_belongs_to_those_of_the_catalogue(tmp_path):
    """A fair comparison is open to whoever has a new loss."""
    write_run(tmp_path, own_code=None)
    write_run(tmp_path, loss="mine:Loss", own_code=f"mine:Loss of {OLD}")
    write_run(tmp_path, loss="mine:Loss:a=1", own_code=f"mine:Loss of {OLD}")
    (group,) = collect(tmp_path).groups
    assert sorted(systems(group.runs)) == ["hybrid", "mine:Loss", "mine:Loss:a=1"]
    assert changed_code(group.runs) == {}


def test_a_loss_of_ones_own_that_was_changed_between_runs_is_another_system(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, loss="mine:Loss", own_code=f"mine:Loss of {OLD}")
    write_run(tmp_path, loss="mine:Loss", fold=1, own_code=f"mine:Loss of {NEW}")
    (group,) = collect(tmp_path).groups
    assert changed_code(group.runs) == {"mine:Loss": [OLD, NEW]}
    assert systems(group.runs) == ["hybrid", f"mine:Loss [{OLD}]", f"mine:Loss [{NEW}]"]
    assert collect(tmp_path).rows["system"].nunique() == 3


def test_a_network_of_ones_own_that_was_changed_marks_every_loss(tmp_path):
    loss = f"mine:Loss of {OLD}"
    write_run(tmp_path, model="my:Net", own_code=f"my:Net of {OLD}")
    write_run(tmp_path, model="my:Net", loss="mine:Loss", own_code=f"{loss}; my:Net of {NEW}")
    assert systems(collect(tmp_path).finished) == [f"hybrid [{OLD}]", f"mine:Loss [{NEW}]"]


def test_the_cohorts_folder_may_be_renamed(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, loss="bce", cohort="renamed")
    assert len(comparable_groups(collect(tmp_path).finished)) == 1


# Tidy


def test_tidy_rows_say_of_which_run_they_are(tmp_path):
    write_run(tmp_path, loss="bce", seed=2, fold=1)
    write_run(tmp_path)
    found = collect(tmp_path).rows
    head = ["system", "loss", "model", "width", "seed", "fold", "scheme", "train_images", "test_images", "id"]
    assert list(found.columns[:10]) == head
    assert found[head].iloc[0].tolist() == ["bce", "bce", "aunet", 8, 2, 1, "kfold", 40, 2, "i000"]
    assert len(found) == 4
    assert collect(tmp_path).histories.groupby("system").size().tolist() == [3, 3]


def test_the_training_loss_of_a_history_is_not_taken_for_the_name_of_the_loss(trained):
    (run,) = collect(trained.parent).finished
    found = collect(trained.parent).histories
    assert found.columns.is_unique
    assert set(found["loss"]) == {run.loss}
    assert found["train_loss"].tolist() == run.history["loss"].tolist()


def test_a_system_names_network_and_width_where_they_differ(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, width=16)
    assert set(collect(tmp_path).rows["system"]) == {"hybrid (aunet-w8)", "hybrid (aunet-w16)"}


def test_nothing_is_tidy_too():
    assert tidy([]).empty
