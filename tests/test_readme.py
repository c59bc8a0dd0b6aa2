"""What the README and the pages show: the Python runs, the commands exist, and one loss is recommended everywhere."""

import re
from pathlib import Path

import torch
from typer.main import get_command

from massmatch.cli import app
from massmatch.cli.demo import DEMO_LOSSES
from massmatch.runs.experiment import Experiment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RECOMMENDED = "soft-sm:random_phase=true"


def commands_of(name):
    return get_command(app).commands[name]


def test_the_python_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 6
    space = {}
    torch.manual_seed(0)
    exec(compile(code, "README.md", "exec"), space)
    assert space["logits"].grad.isfinite().all()
    assert space["logits"].grad.abs().sum() > 0


def test_one_loss_is_recommended_with_its_condition():
    name = f"`{RECOMMENDED}`, the default"
    assert name in README
    assert "SoftMatchingLoss(random_phase=True)" in README
    condition = " ".join(README.partition("## How good is it")[0].split())
    assert "for a small network with a short training and no augmentation; otherwise try `hybrid` first" in condition
    assert "massmatch train COHORT --recipe strong" in README  # whose loss is its own
    assert Experiment.model_fields["loss"].default == RECOMMENDED
    assert [each.default for each in commands_of("train").params if each.name == "loss"] == [RECOMMENDED]
    assert RECOMMENDED in DEMO_LOSSES


def test_the_commands_exist_with_their_options():
    """In the README and the page on data."""
    documents = [README, (ROOT / "docs/data.md").read_text()]
    used = [found for text in documents for found in re.findall(r"^massmatch ([\w-]+)((?:.*\\\n)*.*)$", text, re.M)]
    assert len(used) > 5
    for name, rest in used:
        command = commands_of(name)
        subcommand = getattr(command, "commands", {}).get(rest.split()[0] if rest.split() else "", command)
        known = {option for parameter in subcommand.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.split("#")[0])) <= known, name
    every = {option for each in get_command(app).commands.values() for p in each.params for option in p.opts}
    assert set(re.findall(r"`(--[a-z-]+)", documents[1])) <= every


def test_the_make_targets_and_files_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {*re.findall(r"^make ([a-z-]+)", README, re.M), *re.findall(r"`make ([a-z-]+)`", README)} <= targets
    for path in re.findall(r"\]\(([^)#:]+)\)|`(src/[^`]+|tests/[^`]+)`", README):
        assert (ROOT / "".join(path)).exists(), path


def test_prose_is_wrapped():
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    assert [line for line in prose.splitlines() if len(line) > 100 and not line.startswith(("|", "!"))] == []


def test_every_number_of_the_table_stands_in_the_results():
    results = (ROOT / "docs/results.md").read_text()
    table = [line for line in README.splitlines() if line.startswith("| `")]
    assert len(table) >= 3
    for line in table:
        loss = re.match(r"\| (`[^`]+`)", line).group(1)
        numbers = re.findall(r"[+-]?\d+\.\d", line.partition("|")[2].partition("|")[2])
        rows = [row for row in results.splitlines() if row.startswith(f"| {loss}")]
        assert any(all(number in row for number in numbers) for row in rows), line
