"""The paper's tables and figures as lists, counted and spelled beside the paper; plans that cannot be."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.data import Cohort, open_cohort
from massmatch.errors import UsageError
from massmatch.losses import LOSSES, make_loss
from massmatch.models import MODELS
from massmatch.runs.recipes import RECIPES
from massmatch.sweeps.plan import Plan, checked, combined, read_plan, remarks_on, runs_of, systems_of
from massmatch.sweeps.tables import FIGURES, TABLES, System, label, planned, variants

TINY = {"scheme": "split", "width": 2}


def losses(systems):
    return [system.loss for system in systems]


def with_density(cohort, values):
    table = cohort.table.assign(density=pd.Series(values, index=cohort.table.index, dtype="object"))
    return Cohort(cohort.root, table, cohort.masks, cohort.licence)


def test_table_1_has_the_papers_16_rows_and_what_it_lacks_beside_them():
    rows = losses(TABLES[1])
    assert rows[:3] == ["hybrid", "bce", "tversky"]
    assert sorted(rows[3:]) == sorted(name for name in LOSSES if re.match("sm-(bce|tversky)-", name))
    assert len(rows) == len(set(rows)) == 19
    assert {system.model for system in TABLES[1]} == {"aunet"}


def test_table_3_has_the_papers_8_rows_with_dice_and_the_plain_one():
    assert losses(TABLES[3])[:2] == ["hybrid", "dice"]
    assert sorted(losses(TABLES[3])[2:]) == sorted(name for name in LOSSES if name.startswith("sm-dice-"))
    assert len(TABLES[3]) == 10


def test_table_2_has_the_papers_rows_in_its_order():
    assert [label(system) for system in TABLES[2]] == [
        "ARF-Net, hybrid",
        "hybrid",
        "ASP-Q",
        "ASP-L",
        "ASP-C",
        "Density-ASP",
        "SM-SD (BCE, G-A)",
        "SM-S (Tversky, G-A)",
    ]


def test_figure_3a_compares_the_smallest_with_the_mean_mass():
    for plain, mean in zip(FIGURES["3a"][::2], FIGURES["3a"][1::2], strict=True):
        assert mean.loss == f"{plain.loss}:cell_statistic=mean"
        assert make_loss(plain.loss).rule != make_loss(mean.loss).rule


def test_figure_3b_compares_the_sigmoid_with_the_direct_ratio_where_there_is_one():
    for plain, direct in zip(FIGURES["3b"][:12:2], FIGURES["3b"][1:12:2], strict=True):
        loss, other = make_loss(plain.loss), make_loss(direct.loss)
        assert (loss.rescale, other.rescale) == ("sigmoid", "direct")
        assert loss.scale or loss.distance


def test_figure_3b_also_holds_the_weight_of_other_cells_where_the_sigmoid_has_it():
    held = [make_loss(system.loss) for system in FIGURES["3b"][12:]]
    assert [(loss.rescale, loss.matched_weight, loss.distance) for loss in held] == [("direct", 0.5, True)] * 4


def test_a_recipe_fills_in_what_the_plan_leaves_open(cohort):
    strong = RECIPES["strong"]
    plan = checked({"recipe": "strong", "training": {"width": 3}})
    assert plan.losses == [strong["loss"]]
    rest = {name: value for name, value in strong.items() if name not in ("loss", "model")}
    assert (plan.models, plan.training) == ([strong["model"]], {**rest, "width": 3})
    (run,) = runs_of(plan.model_copy(update={"folds": [0]}), systems_of(plan, cohort)[0], cohort, 1)
    assert (run.experiment.augment, run.experiment.width) == (strong["augment"], 3)
    for named in ({"losses": ["bce"]}, {"table": 3}, {"figure": "3a"}):
        assert checked({"recipe": "strong", **named}).losses == named.get("losses", [])
    for named in ({"models": ["aunet"]}, {"models": ["aunet", strong["model"]]}, {"table": 2}):
        plan = checked({"recipe": "strong", **named})
        assert (plan.models, plan.training.get("start")) == (named.get("models", []), None)


def test_what_the_command_line_says_wins_over_the_recipe_of_a_file(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text("recipe: strong\nlosses: [bce]\ntraining: {width: 3}\n")
    assert combined(file, {}, {"epochs": 2}).training == {
        **checked({"recipe": "strong"}).training,
        "width": 3,
        "epochs": 2,
    }
    assert combined(file, {"recipe": "paper"}, {}).training == {"width": 3}


def test_a_recipe_that_there_is_not_or_that_a_protocol_contradicts_is_refused():
    with pytest.raises(UsageError, match=r"--recipe: .*'paper' or 'strong', but is 'weak'"):
        checked({"recipe": "weak", "losses": ["bce"]})
    with pytest.raises(UsageError, match=r"plan\.yaml: recipe: is 'strong', but protocol paper says how to train"):
        checked({"recipe": "strong", "protocol": "paper"}, "plan.yaml")


def test_the_papers_protocol_is_section_4_1_and_leaves_open_what_it_does_not_state(cohort):
    plan = checked({"table": 1, "protocol": "paper", "training": {"width": 8, "epochs": 12}})
    runs = runs_of(plan, systems_of(plan, cohort)[0], cohort, 1)
    assert {run.fold for run in runs} == {0, 1, 2, 3, 4}
    facts = {(e.scheme, e.batch_size, e.schedule, e.learning_rate, e.width) for e in (run.experiment for run in runs)}
    assert facts == {("paper", 4, "constant", 1e-4, 8)}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"batch_size": 8}, "--batch-size: is 4 in the paper's protocol, but is 8"),
        ({"augment": "strong"}, "--augment: is none in the paper's protocol, but is 'strong'"),
        ({"folds": 10}, "--of: is 5 in the paper's protocol, but is 10"),
    ],
)
def test_a_setting_that_contradicts_the_protocol_is_named(setting, said):
    with pytest.raises(ValueError, match=f"^{said}; leave out one$"):
        checked({"table": 1, "protocol": "paper", "training": setting})
    assert checked({"table": 1, "protocol": "paper", "training": {"batch_size": 4}}).training["batch_size"] == 4


def test_a_cohort_that_is_not_the_papers_is_said_to_be_another(cohort):
    images, size = remarks_on(checked({"table": 1, "protocol": "paper"}), cohort)
    assert f"107 images of INbreast, {cohort.name} has {len(cohort)}" in images
    assert f"256 x 256 pixels, {len(cohort)} of {len(cohort)} here have" in size
    assert remarks_on(checked({"table": 1}), cohort) == []


def test_to_the_letter_takes_every_reading_of_the_equations_but_those_that_were_given(cohort):
    plan = checked({"losses": ["hybrid", "sm-tversky-s-nz", "sm-bce-s-nz:numerator=kept"], "letter": True})
    plain, tversky, bce = (make_loss(system.loss) for system in systems_of(plan, cohort)[0])
    assert repr(plain) == repr(make_loss("hybrid"))
    assert (tversky.threshold, tversky.numerator, tversky.rule.min_cell, tversky.core.smooth) == (0, "all", 1, 1e-6)
    assert (bce.threshold, bce.numerator, bce.rule.min_cell) == (0, "kept", 1)


def test_a_loss_that_is_spelt_twice_is_one_row(cohort):
    plan = checked({"losses": ["soft-sm", "soft-sm:", "bce", "soft-sm:stray=0.50"], "models": ["aunet", "unet"]})
    assert [tuple(system) for system in systems_of(plan, cohort)[0]] == [
        (loss, model) for model in ("aunet", "unet") for loss in ("soft-sm", "bce")
    ]


def test_figure_3a_says_how_many_images_it_can_affect(tmp_path):
    two = np.zeros((64, 64), np.uint8)
    two[4:12, 4:12], two[20:52, 20:52] = 1, 2  # smallest side 8, mean 20: cells of 8 and of 16
    one = np.zeros_like(two)
    one[4, 4], one[20:23, 20:23] = 1, 2  # sides 1 and 3: cells of 4 by our bound, to the letter of 1 and of 2
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, mask in (("one", one), ("two", two)):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(40 * mask).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "samples.csv").write_text("id,patient\none,1\ntwo,2\n")
    for letter, count in ((False, 1), (True, 2)):
        (remark,) = remarks_on(checked({"figure": "3a", "letter": letter}), open_cohort(tmp_path))
        assert f"other cells in {count} of 2 images" in remark


def test_every_row_of_every_plan_has_a_loss_and_a_network():
    for systems in (*TABLES.values(), *FIGURES.values()):
        for system in systems:
            make_loss(system.loss)
            assert system.model in MODELS


@pytest.mark.parametrize(
    ("loss", "model", "written"),
    [
        ("sm-tversky-s-a", "aunet", "SM-S (Tversky, G-A)"),
        ("sm-bce-sd-nz", "aunet", "SM-SD (BCE, G-NZ)"),
        ("sm-dice-b-a:smooth=0.1,min_cell=1", "aunet", "SM-B (Dice, G-A), smooth=0.1,min_cell=1"),
        ("asp-q", "aunet", "ASP-Q"),
        ("bce", "unet++", "unet++, BCE"),
        ("focal", "aunet", "focal"),
    ],
)
def test_a_label_follows_from_loss_and_network(loss, model, written):
    assert label(System(loss, model)) == written


def test_labels_of_a_plan_tell_its_rows_apart():
    for systems in (*TABLES.values(), *FIGURES.values()):
        assert len({label(system) for system in systems}) == len(systems)


def test_the_variants_stand_in_the_order_of_the_papers_table():
    assert variants("bce") == [
        *("sm-bce-b-a", "sm-bce-d-a", "sm-bce-s-a", "sm-bce-sd-a"),
        *("sm-bce-b-nz", "sm-bce-d-nz", "sm-bce-s-nz", "sm-bce-sd-nz"),
    ]


def test_runs_are_ordered_by_seed_then_fold_and_each_comes_once():
    systems = [System("bce"), System("dice"), System("bce")]
    runs = planned(systems, [1, 0, 1], [3, 3], cohort="c", fingerprint="f")
    assert [(run.experiment.loss, run.fold, run.experiment.seed) for run in runs] == [
        ("bce", 1, 3),
        ("dice", 1, 3),
        ("bce", 0, 3),
        ("dice", 0, 3),
    ]
    assert len({run.folder(Path("runs")) for run in runs}) == 4


def test_tables_1_and_3_and_figures_share_the_runs_that_they_share(cohort):
    plan = checked({"table": 1, "training": TINY})
    first = runs_of(plan, systems_of(plan, cohort)[0], cohort, 1)
    plan = checked({"figure": "3a", "training": TINY})
    second = runs_of(plan, systems_of(plan, cohort)[0], cohort, 1)
    shared = {run.experiment for run in first} & {run.experiment for run in second}
    assert {experiment.loss for experiment in shared} == {"sm-bce-sd-a", "sm-tversky-s-a"}


def test_all_rows_of_a_plan_differ_in_loss_alone(cohort):
    plan = checked({"table": 1, "seeds": [0, 1], "training": {"width": 2, "epochs": 3}})
    runs = runs_of(plan, systems_of(plan, cohort)[0], cohort, 1)
    assert len(runs) == 19 * 5 * 2
    others = {str({**run.experiment.model_dump(), "loss": "", "seed": 0}) for run in runs}
    assert len(others) == 1


def test_the_learning_rate_follows_the_schedule_unless_it_is_given(cohort):
    def rate(**training):
        plan = checked({"losses": ["bce"], "training": {**TINY, **training}})
        return runs_of(plan, [System("bce")], cohort, 1)[0].experiment.learning_rate

    assert rate() == 1e-4
    assert rate(schedule="one-cycle") == 2e-3
    assert rate(schedule="one-cycle", learning_rate="5e-3") == 5e-3  # YAML 1.1 takes 5e-3 for a text


def test_a_plan_may_say_how_many_folds_there_are(cohort):
    plan = checked({"losses": ["bce"], "training": {"width": 2, "folds": 3}})
    runs = runs_of(plan, [System("bce")], cohort, 1)
    assert [(run.fold, run.experiment.folds) for run in runs] == [(0, 3), (1, 3), (2, 3)]


def test_threads_are_those_of_the_plan_or_those_at_hand(cohort):
    for training, threads in ((TINY, 3), ({**TINY, "threads": 2}, 2)):
        plan = checked({"losses": ["bce"], "training": training})
        assert runs_of(plan, [System("bce")], cohort, 3)[0].experiment.threads == threads


def test_density_asp_is_left_out_of_table_2_with_a_line_where_a_density_is_missing(cohort):
    densities = [1, 2, 3, 4] * len(cohort)
    whole = with_density(cohort, densities[: len(cohort)])
    assert systems_of(checked({"table": 2}), whole) == (TABLES[2], [])
    lacking = with_density(cohort, [None, 7, *densities[: len(cohort) - 2]])
    systems, (line,) = systems_of(checked({"table": 2}), lacking)
    assert losses(systems) == [name for name in losses(TABLES[2]) if name != "density-asp"]
    assert f"density-asp is left out: it needs an ACR density of 1 to 4 for every image, but 2 of {len(cohort)}" in line


def test_density_asp_by_name_is_refused_where_a_density_is_missing(cohort):
    lacking = Cohort(cohort.root, cohort.table.drop(columns="density"), cohort.masks, cohort.licence)
    with pytest.raises(ValueError, match=f"density-asp needs .* but {len(cohort)} of {len(cohort)} images have none"):
        systems_of(checked({"losses": ["bce", "density-asp"]}), lacking)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"losess": ["bce"]}, "unknown key 'losess'; did you mean 'losses'?"),
        ({"losses": ["bce"], "training": {"lerning_rate": 1}}, "training: unknown key 'lerning_rate'; did you mean"),
        ({"losses": ["bce"], "training": {"lerning_rate": 1}}, "'learning_rate'"),
        ({"losses": "bce"}, "losses: must be a valid list, but is 'bce'"),
        ({"losses": []}, "losses: List should have at least 1 item"),
        ({"losses": ["bce"], "folds": ["0"]}, "folds: must be a valid integer, but is '0'"),
        ({"losses": ["bce"], "seeds": [-1]}, "seeds: must be greater than or equal to 0, but is -1"),
        ({"losses": ["bce"], "training": {"epochs": "twelve"}}, "training: epochs: must be a valid integer"),
        (
            {"losses": ["bce"], "training": {"epochs": True}},
            "training: epochs: must be a number or a name, but is True",
        ),
        ({"losses": ["bce"], "training": {"loss": "bce"}}, "training: unknown key 'loss'"),
        ({"losses": ["bce"], "training": {"seed": 1}}, "training: unknown key 'seed'"),
        ({"losses": ["bce"], "training": {"track": ["mlflow"]}}, "no plan holds it: give --track to the command"),
        ({"table": 4}, "table: must be 1, 2 or 3, but is 4"),
        ({"figure": "3c"}, "figure: must be '3a' or '3b', but is '3c'"),
        ({"table": 2, "models": ["unet"]}, "models: table 2 has its own, arfnet, aunet"),
    ],
)
def test_row_61_a_mistake_in_a_plan_is_named_with_its_file_and_the_nearest_key(content, message):
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        checked(content, "plan.yaml")
    assert str(told.value).startswith("plan.yaml: ")


def test_row_61_mistakes_are_told_all_at_once():
    with pytest.raises(ValueError, match="epochs") as told:
        checked({"losses": ["bce"], "training": {"epochs": 0, "lerning_rate": 1, "width": "x"}}, "plan.yaml")
    assert len(str(told.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "give one of table, figure and losses, not none of them"),
        ({"table": 1, "losses": ["bce"]}, "not table and losses"),
        ({"losses": ["sm-tverky-s-a"]}, "did you mean 'sm-tversky-s-a'?"),
        ({"losses": ["tversky:smoth=1"]}, "did you mean 'smooth'?"),
        ({"losses": ["bce"], "models": ["aunett"]}, "did you mean 'aunet'?"),
    ],
)
def test_row_61_what_does_not_exist_is_found_before_anything_runs(content, message, cohort):
    with pytest.raises(ValueError, match=re.escape(message)):
        systems_of(checked(content), cohort)


def test_row_61_a_fold_that_there_is_not_is_found_before_anything_runs(cohort):
    plan = checked({"losses": ["bce"], "folds": [0, 5]})
    with pytest.raises(ValueError, match="fold must be from 0 to 4"):
        runs_of(plan, [System("bce")], cohort, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("losses: [bce", "cannot be read as YAML"),
        ("table: 1\ntable: 2", "'table' comes twice"),
        ("training: {epochs: 1, epochs: 2}", "'epochs' comes twice"),
        ("- bce", "must hold lines `key: value`"),
        ("", "must hold lines `key: value`"),
    ],
)
def test_row_61_a_file_that_is_no_plan_is_named(text, message, tmp_path):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"plan.yaml: .*{message}"):
        read_plan(tmp_path / "plan.yaml")


def test_a_plan_of_every_key_is_read(tmp_path):
    text = "losses: [bce]\nmodels: [aunet]\nfolds: [0, 1]\nseeds: [4]\ntraining: {width: 8, learning_rate: 1e-3}\n"
    (tmp_path / "plan.yaml").write_text(text)
    plan = checked(read_plan(tmp_path / "plan.yaml"), "plan.yaml")
    assert plan == Plan(
        losses=["bce"], models=["aunet"], folds=[0, 1], seeds=[4], training={"width": 8, "learning_rate": "1e-3"}
    )


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "docs/studies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_studies_of_the_documentation_can_be_run(path, cohort):
    plan = checked(read_plan(path), str(path))
    systems, left_out = systems_of(plan, cohort)
    assert len(systems) == len(set(systems)) == len(plan.losses)
    assert not left_out


def test_the_command_takes_protocol_and_letter_and_says_how_the_cohort_differs(cohort, tmp_path):
    asked = ["sweep", str(cohort.root), "--losses", "sm-bce-b-nz", "--protocol", "paper", "--letter"]
    asked += ["--width", "2", "--precision", "float32", "--memory", "contiguous", "--threads", "1"]
    result = CliRunner().invoke(app, [*asked, "--dry-run", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "the paper's protocol has 107 images of INbreast" in result.output
    assert "SM-B (BCE, G-NZ), min_cell=1,numerator=all,threshold=0, fold 4" in " ".join(result.output.split())


def test_what_lies_in_a_script_or_notebook_itself_is_refused_for_a_sweep(cohort):
    for losses, models in ((["__main__:mine"], ["aunet"]), (["bce"], ["__main__:Net"])):
        with pytest.raises(UsageError, match=r"^__main__:\w+: the runs of a sweep are processes of their own"):
            systems_of(Plan(losses=losses, models=models), cohort)
