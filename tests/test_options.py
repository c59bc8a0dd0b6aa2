"""An option of a command is a field: its text, bounds, choices and default stand once."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pytest
import typer
from annotated_doc import Doc
from annotated_types import Ge
from pydantic import BaseModel
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.cli.datasets import prepare
from massmatch.cli.options import given, options_of
from massmatch.cli.sweep import SWEPT, sweep
from massmatch.cli.train import train
from massmatch.data.augmentation import Level
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.preprocessing.options import PreprocessingOptions
from massmatch.data.readers import READERS
from massmatch.runs.experiment import Experiment
from massmatch.runs.options import TrainingOptions


@dataclass
class Cakes:
    layers: Annotated[int, Ge(1), Doc("How many layers.")] = 3
    icing: Annotated[Literal["none", "thick"], Doc("What lies on it.")] = "none"
    size: Annotated[tuple[int, int] | Literal["native"], Doc("Sides.")] = (4, 5)


def run(*arguments):
    app, taken = typer.Typer(), {}

    @app.command()
    @options_of(Cakes)
    def bake(context: typer.Context, cook: str, quick: bool = False, **options: Any) -> None:
        taken.update({"all": options, "given": given(context, options)})

    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"}), taken


def test_a_field_becomes_an_option_with_its_text_bounds_choices_and_default():
    result, _ = run("--help")
    said = " ".join(result.output.split())
    for text in ("How many layers.", "x>=1", "none|thick", "What lies on it.", "default: 3", "default: 4x5"):
        assert text in said
    assert said.index("cook") < said.index("--layers") < said.index("--quick")


def test_only_what_is_given_is_given():
    _, taken = run("anna", "--icing", "thick")
    assert taken == {"all": {"layers": 3, "icing": "thick", "size": "4x5"}, "given": {"icing": "thick"}}


@pytest.mark.parametrize("wrong", [("--layers", "0"), ("--icing", "thin"), ("--cherries", "1")])
def test_what_no_field_allows_is_a_usage_error(wrong):
    assert run("anna", *wrong)[0].exit_code == 2


@pytest.mark.parametrize(
    ("command", "options", "leave_out"),
    [(train, TrainingOptions, ()), (sweep, TrainingOptions, SWEPT), (prepare, PreprocessingOptions, ())],
)
def test_each_field_is_an_option_of_its_commands(command, options, leave_out):
    there = inspect.signature(command).parameters
    fields = set(options.__annotations__) - set(leave_out)
    assert fields <= set(there)
    assert all(get_args(there[name].annotation)[1].help for name in fields)


@pytest.mark.parametrize(("model", "options"), [(Experiment, TrainingOptions), (Preprocessing, PreprocessingOptions)])
def test_the_models_have_the_fields_and_defaults_of_the_options(model: type[BaseModel], options):
    for name in options.__annotations__:
        assert model.model_fields[name].default == getattr(options, name)


@pytest.mark.parametrize(
    ("size", "sides"),
    [("256", (256, 256)), ("512x256", (512, 256)), ("native", "native"), (64, (64, 64)), ([32, 64], (32, 64))],
)
def test_sizes_are_read_as_they_are_written_on_a_command_line(size, sides):
    assert Preprocessing(size=size).size == sides


@pytest.mark.parametrize("size", ["7", "8193", "8x", "8x8x8", "large", "", (8,) * 3, 8.5])
def test_other_sizes_are_refused_with_what_is_expected(size):
    with pytest.raises(ValueError, match="must be 8 to 8192 pixels, as 256, 512x256 or native"):
        Preprocessing(size=size)


def test_the_learning_rate_follows_the_schedule_unless_it_is_given():
    def rate(**fields):
        return Experiment(cohort="a", fingerprint="b", **fields).learning_rate

    assert (rate(), rate(schedule="one-cycle"), rate(schedule="one-cycle", learning_rate=1e-4)) == (1e-4, 2e-3, 1e-4)


@pytest.mark.parametrize("threads", [0, -1, 1025, 100_000])
def test_numbers_of_threads_that_end_the_process_are_refused(threads):
    with pytest.raises(ValueError, match="threads"):
        Experiment(cohort="a", fingerprint="b", threads=threads)


def test_augmentation_knows_the_levels_of_the_option():
    assert get_args(get_args(get_type_hints(TrainingOptions, include_extras=True)["augment"])[0]) == get_args(Level)


def test_a_later_option_changes_the_name_of_a_run_only_where_it_is_used():
    def digest(**fields):
        return Experiment(cohort="x", fingerprint="f", **fields).digest

    assert digest() == digest(adversarial=0) == "f4128c76"  # as version 0.1 named it
    assert digest(threads=2, threshold="validation") == "e35e810e"
    assert digest(adversarial=0.1) == "c95a0cc0"


def test_one_loss_makes_one_run_however_it_is_spelt():
    texts = ("soft-sm:random_phase=true", "soft-sm:random_phase=TRUE,", "soft-sm:found=1,random_phase=true")
    runs = [Experiment(cohort="x", fingerprint="f", loss=loss) for loss in ("focal:gamma=3,alpha=0.5", *texts)]
    assert len({run.digest for run in runs}) == len({run.folder(Path(), 0) for run in runs}) == 2
    assert runs[-1].digest == Experiment(cohort="x", fingerprint="f").digest  # the default


def test_the_help_of_prepare_names_every_reader():
    said = " ".join(CliRunner().invoke(app, ["prepare", "--help"], env={"COLUMNS": "200"}).output.split())
    assert all(name in said for name in READERS)
