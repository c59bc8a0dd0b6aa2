"""What `import massmatch` gives: one documented call for each thing, and nothing loaded before it is used."""

import contextlib
import inspect
import shutil
import subprocess
import sys
import textwrap
from functools import partial
from types import SimpleNamespace

import pytest

import massmatch
from conftest import tiny
from massmatch import DataError, UsageError

TOY = {"width": 2, "scheme": "split", "epochs": 1, "threads": 1, "precision": "float32", "memory": "contiguous"}


def test_importing_it_loads_nothing_heavy():
    code = "import sys, massmatch\nprint([m for m in ('torch', 'numpy', 'pandas', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("name", [name for name in massmatch.__all__ if name != "__version__"])
def test_every_name_is_there_and_documented(name):
    assert getattr(massmatch, name).__doc__
    assert name in dir(massmatch)


def test_the_names_for_type_checkers_are_those_that_are_loaded():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(massmatch.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: each.module for each in block.body for alias in each.names}
    assert {*homes, "__version__"} == set(massmatch.__all__)
    for name, home in homes.items():
        assert getattr(massmatch, name) is getattr(sys.modules[home], name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = massmatch.nothing


def test_rooms_can_be_imported_by_themselves_and_load_what_is_slow_only_for_what_needs_it():
    """A mistake in `train`, a prediction and a status wait neither for Lightning nor for scikit-learn."""
    rooms = "losses, metrics, data, training.entry, sweeps.status, inference.batch".replace(", ", ", massmatch.")
    slow = ("lightning_fabric", "torch._dynamo", "sklearn", "scipy.stats", "matplotlib", "monai")
    code = f"import sys, massmatch.{rooms}\nmassmatch.losses.LOSSES['bce']()\nprint([*filter(sys.modules.get, {slow})])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def mammograms(cohort, tmp_path):
    """A folder of images and masks with a table of patients, as a group would keep its own."""
    for folder in ("images", "masks"):
        shutil.copytree(cohort.root / folder, tmp_path / "mammograms" / folder)
    rows = "".join(f"{id},{patient}\n" for id, patient in zip(cohort.ids, cohort.table["patient"], strict=True))
    (tmp_path / "mammograms/patients.csv").write_text(f"id,patient\n{rows}")
    return tmp_path / "mammograms"


def test_prepare_gives_the_cohort_and_does_nothing_the_second_time(cohort, mammograms, tmp_path):
    names = {"massmatch": SimpleNamespace(prepare=partial(massmatch.prepare, workers=1))}
    with contextlib.chdir(tmp_path):
        for kept in (False, True):
            exec(example(massmatch.prepare), names)
            prepared = names["prepared"]
            assert (prepared.skipped, prepared.kept) == ({}, kept)
        assert prepared.cohort.ids == cohort.ids
        assert prepared.cohort.table["patient"].tolist() == cohort.table["patient"].tolist()
        assert prepared.cohort.load(cohort.ids[0]).image.shape == (256, 256)


def test_prepare_names_what_it_leaves_out(cohort, mammograms, tmp_path):
    missing, strange = cohort.ids[0], "images/notes.bmp"
    (mammograms / f"masks/{missing}.png").write_bytes(b"no picture")
    (mammograms / strange).write_bytes(b"x")
    with pytest.raises(DataError, match=f"masks/{missing}.png: cannot be read"):
        massmatch.prepare("folder", mammograms, tmp_path / "out", size=32, workers=1)
    found = massmatch.prepare("folder", mammograms, tmp_path / "out", size=32, workers=1, on_error="skip")
    assert found.cohort.ids == cohort.ids[1:]
    assert sorted(found.skipped) == [strange, f"images/{missing}.png"]


@pytest.mark.parametrize(
    ("reader", "options", "told"),
    [
        ("foldr", {}, "unknown reader 'foldr', did you mean folder"),
        ("folder", {"sise": 32}, "unknown option 'sise'; did you mean 'size'"),
        ("folder", {"masses_only": True}, "--masses-only: the reader folder has no such option"),
        ("folder", {"crop": "brest"}, "crop: must be 'none' or 'breast', but is 'brest'"),
        ("folder", {"on_error": "ignore"}, "on_error must be stop or skip, but is 'ignore'"),
        ("inbreast", {}, "no such folder"),
    ],
)
def test_what_prepare_does_not_know_is_a_usage_error(reader, options, told, mammograms, tmp_path):
    source = mammograms if reader != "inbreast" else tmp_path / "nothing"
    with pytest.raises(UsageError, match=told):
        massmatch.prepare(reader, source, tmp_path / "out", **options)


def test_train_gives_the_run_and_does_nothing_the_second_time(cohort, tmp_path):
    for _ in range(2):
        run = massmatch.train(cohort, loss="bce", out=tmp_path, **TOY)
    assert run.state == "done"
    assert run.path == tiny(cohort, loss="bce", epochs=1, learning_rate=1e-4).folder(tmp_path, 0)
    assert set(run.rows().columns) >= {"id", "dsc"}
    index = massmatch.predict(cohort.root / "images" / f"{cohort.ids[0]}.png", tmp_path / "out", weights=run).index
    assert [row["id"] for row in index] == [cohort.ids[0]]


def example(call):
    """The code below "Example:" in a docstring."""
    code = inspect.getdoc(call).partition("Example:\n")[2].partition("\n\n")[0]
    assert "massmatch." in code, call
    return textwrap.dedent(code)


@pytest.fixture(scope="module")
def examples(cohort, tmp_path_factory):
    """What the examples of the four calls leave: run one after the other in a folder with a cohort, in toy size."""

    def toy(call):
        return lambda *arguments, **options: call(*arguments, **options | TOY)

    small = {"train": toy(massmatch.train), "sweep": toy(massmatch.sweep)}
    names = {"massmatch": SimpleNamespace(**small, report=massmatch.report, predict=massmatch.predict)}
    here = tmp_path_factory.mktemp("examples")
    shutil.copytree(cohort.root, here / "cohort")
    (here / "images").mkdir()
    shutil.copy(cohort.root / "images" / f"{cohort.ids[0]}.png", here / "images")
    with contextlib.chdir(here):
        for call in (massmatch.train, massmatch.sweep, massmatch.report, massmatch.predict):
            exec(example(call), names)
    return here, names


@pytest.mark.long  # the example of sweep trains
def test_the_examples_of_the_calls_can_be_run_one_after_the_other(examples):
    here, names = examples
    with contextlib.chdir(here):
        assert names["run"].state == "done"
    assert [run.loss for run in names["runs"].finished] == ["hybrid", "soft-sm"]
    assert names["runs"].unfinished == []
    assert (here / "report/tables").is_dir()
    assert len(names["batch"].index) == 1


@pytest.mark.long  # the example of sweep trains
def test_report_takes_the_runs_of_a_sweep_or_their_folder(examples, cohort, tmp_path):
    here, _ = examples
    page = massmatch.report(here / "runs", cohort=here / "cohort", out=tmp_path / "report", draws=100)
    again = massmatch.report(massmatch.collect(here / "runs"), cohort=cohort, out=tmp_path / "again", draws=100)
    assert page.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lerning_rate": 1}, "unknown option 'lerning_rate'; did you mean 'learning_rate'"),
        ({"loss": "dise"}, "did you mean 'dice'"),
        ({"model": "aunett"}, "did you mean 'aunet'"),
        ({"epochs": 0, "width": 0}, "epochs: must be greater than or equal to 1, but is 0"),
        ({"threshold": "x"}, "threshold: must be 'validation' or a valid number, but is 'x'$"),
        ({"threshold": 2.0}, "threshold: must be 'validation' or less than 1, but is 2.0$"),
        ({"scheme": "random"}, "scheme: must be 'kfold', 'paper', 'split' or 'official'"),
    ],
)
def test_what_train_does_not_know_is_a_usage_error(options, told, cohort, tmp_path):
    with pytest.raises(UsageError, match=told):
        massmatch.train(cohort, out=tmp_path, **options)
