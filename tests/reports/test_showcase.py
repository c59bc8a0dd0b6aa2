"""The demo: its page shows pictures first, and no order of losses that made-up images could not carry."""

import re
from itertools import cycle

import pytest
import yaml
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.cli.demo import DEMO_COHORT, DEMO_LOSSES, DEMO_TRAINING, warn_of_other_versions
from massmatch.inference import packaged
from massmatch.losses import make_loss
from massmatch.runs import record
from massmatch.runs.folder import RunFolder, run_folders
from massmatch.runs.precision import Speed


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the command says, and its page, with networks and images so small that it takes seconds."""
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packaged, "show_packaged", lambda folder: [])
        ways = cycle([Speed("float32", "contiguous"), Speed("float32", "channels-last")])
        patch.setattr(record, "fastest", lambda *_, **__: next(ways))  # as on a machine whose timings vary
        patch.setitem(DEMO_COHORT, "patients", 12)
        patch.setitem(DEMO_TRAINING, "width", 2)
        patch.setitem(DEMO_TRAINING, "epochs", 1)
        patch.setitem(DEMO_TRAINING, "batch_size", 16)
        said = CliRunner().invoke(app, ["demo", str(out)])
    assert said.exit_code == 0, said.output
    speeds = {tuple(run.resolved()[k] for k in ("precision", "memory")) for run in map(RunFolder, run_folders(out))}
    assert len(speeds) == 1  # as in a sweep, all compute as the first does
    return " ".join(said.output.split()), (out / "index.html").read_text(encoding="utf-8")


def test_the_demo_trains_the_losses_that_the_evidence_is_about():
    assert DEMO_LOSSES == ("hybrid", "tversky", "sm-tversky-sd-nz", "soft-sm:random_phase=true")
    assert all(make_loss(loss) for loss in DEMO_LOSSES)


def test_runs_of_another_version_are_told(trained, tmp_path, capsys):
    """A demo folder of an earlier version was shown as this one's, without a word."""
    warn_of_other_versions([trained])
    assert capsys.readouterr().err == ""
    facts = yaml.safe_load((trained / "experiment.yaml").read_text())
    facts["resolved"]["versions"]["massmatch"] = "0.1.0"
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(facts))
    warn_of_other_versions([tmp_path])
    assert f"{tmp_path} was made by massmatch 0.1.0, and is kept" in capsys.readouterr().err


@pytest.mark.long  # the whole demo
def test_pictures_come_first_and_every_loss_is_in_them(shown):
    _, page = shown
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert headings == ["Pictures", "Training", "Methods"]
    pictures = page.partition('<h2 id="figure-4"')[2].partition("</section>")[0]
    found = [pictures.index(f"contours of the truth and of {loss}:") for loss in sorted(DEMO_LOSSES)]
    assert found == sorted(found)  # in the order of their names


@pytest.mark.long  # the whole demo
def test_neither_page_nor_screen_orders_losses_or_tests_them(shown):
    said, page = shown
    for text in (said, page.partition("<script")[0]):
        assert "say nothing about patients" in text
        assert "docs/results.md" in text
        for word in ("Holm", "Wilcoxon", "p =", "p <", "better than", "highest mean", "points above", "Differences"):
            assert word not in text, word
