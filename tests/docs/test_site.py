"""The site builds without a warning, loads nothing from elsewhere, and each of its code blocks and examples runs."""

import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text()]


def run(*command, cwd):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("page", [*PAGES, *sorted(EXAMPLES.glob("*.*"))], ids=lambda page: page.name)
def test_every_dotted_name_of_the_package_in_pages_and_examples_is_there(page):
    files = {"massmatch.json"}  # names of files, not of Python's
    for name in {*re.findall(r"(?<![\w/@-])massmatch(?:\.[A-Za-z_]\w*)+", page.read_text())} - files:
        pkgutil.resolve_name(name)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    run("-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, out, cwd=out)
    return out


@pytest.mark.long
def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    for page in DOCS.glob("*.md"):
        assert (site / f"{page.stem}.html").exists()
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="(https?:[^"]*|//[^"]*)"', page.read_text())
        assert loaded == [], page.name
    assert "<math" in (site / "loss.html").read_text()


@pytest.mark.long
def test_every_class_and_function_of_the_interface_is_described(site):
    text = (site / "api.html").read_text()
    for name in ("SpatialMatchingLoss", "SoftMatchingLoss", "make_loss", "image_metrics", "AUNet", "open_cohort"):
        assert re.search(rf'id="massmatch\.[\w.]*{name}"', text), name
    for kind in re.findall(r">(?:Return type|Type)<.*?<p>(.*?)</p>", text, re.S):  # a sentence up to its colon is none
        assert " " not in re.sub(r"<.*?>|\[.*\]| \| ", "", kind), kind


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(block, page.name, "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    prose = re.sub(r"`[^`\n]+`", "", page.read_text())
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|literalinclude\} (\S+)", prose):
        assert (page.parent / "".join(target)).exists(), target


def test_pages_and_sections_that_the_code_names_are_there():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert [page for page in {*re.findall(r"docs/[\w/]+\.(?:md|py|yaml)", source)} if not (ROOT / page).exists()] == []
    for page, section in re.findall(r'(docs/[\w/]+\.md), "([^"]+)"', source):
        assert f"# {section}\n" in (ROOT / page).read_text(), section


def test_the_questions_quote_messages_that_the_program_gives():
    quoted = re.findall(r'\*\*"([^"]+)"', (DOCS / "faq.md").read_text())
    assert len(quoted) >= 5
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*f?"', "", source)  # a message may be cut into pieces
    for message in quoted:
        assert message in source, message


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("examples") / "cohort"
    run("-m", "massmatch", "phantom", out, "--patients", 10, "--size", 64, cwd=out.parent)
    return out


def test_examples_are_short():
    assert [path.name for path in EXAMPLES.glob("*.py") if len(path.read_text().splitlines()) > 60] == []


@pytest.mark.long
def test_the_notebook_runs_and_opens_with_outputs(tmp_path):
    cells = [
        cell for cell in json.loads((EXAMPLES / "inside_the_loss.ipynb").read_text())["cells"] if "outputs" in cell
    ]
    assert sum(bool(cell["outputs"]) for cell in cells) >= 4
    code = "\n".join(["import matplotlib", "matplotlib.use('agg')", *("".join(cell["source"]) for cell in cells)])
    printed = "".join("".join(out.get("text", "")) for cell in cells for out in cell["outputs"])
    assert run("-c", code, cwd=tmp_path) == printed


@pytest.mark.long
@pytest.mark.parametrize(("name", "says"), [("plain_loop", "epoch 2: mean loss"), ("monai_trainer", "Epoch: 2/2")])
def test_examples_that_train(name, says, cohort, tmp_path):
    assert says in run(EXAMPLES / f"{name}.py", cohort, cwd=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("name", "says"), [("volumes", "cells of (4, 8, 8) voxels"), ("many_lesions", "cc-dice-bce")])
def test_examples_on_drawn_masses(name, says, tmp_path):
    assert says in run(EXAMPLES / f"{name}.py", cwd=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("loss", ["sm-tversky-s-a", "hybrid"])  # with facts, and without any
def test_lightning_takes_a_loss_by_name(loss, cohort, tmp_path):
    arguments = ["fit", "--data.path", cohort, "--model.loss", loss, "--trainer.max_epochs", 1]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    assert "max_epochs=1" in run(EXAMPLES / "lightning_module.py", *arguments, *quiet, cwd=tmp_path)


@pytest.mark.long
def test_a_loss_of_ones_own_is_compared_in_a_sweep(cohort, tmp_path):
    (tmp_path / "own_loss.py").write_text((EXAMPLES / "own_loss.py").read_text())
    losses = ["--losses", "own_loss:LogCosh", "own_loss:cell_by_cell"]
    sizes = ["--width", 2, "--epochs", 1, "--folds", 0, "--jobs", 1]
    run("-m", "massmatch", "sweep", cohort, *losses, *sizes, "--out", "runs", cwd=tmp_path)
    assert len(list(tmp_path.glob("runs/*/fold0/DONE"))) == 2


def test_a_bundle_of_monai_builds_the_losses(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    space: dict[str, Any] = {}
    exec("\n".join(re.findall(r"^#     (.+)", (EXAMPLES / "monai_bundle.yaml").read_text(), re.M)), space)
    parser = space["parser"]
    network = parser.get_parsed_content("network")
    import torch

    images, target = torch.rand(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    target[..., 8:16, 8:16] = 1
    for name in ("loss", "soft_loss"):
        value = parser.get_parsed_content(name)(network(images), target)
        assert value.isfinite()
        assert value.requires_grad
    assert parser.get_parsed_content("optimizer").param_groups[0]["lr"] == 0.001
