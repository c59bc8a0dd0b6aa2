"""Every probe finds the fault it is made for, and nothing in a good loss."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.losses import LOSSES, LossSpec
from massmatch.losses.conformance.check import PROBES, check
from massmatch.losses.own import Called


def dice(p, y):
    axes = tuple(range(2, p.ndim))
    return 1 - (2 * (p * y).sum(axes) + 1) / (p.sum(axes) + y.sum(axes) + 1)


class Good(nn.Module):
    """Soft Dice, computed in float32 or more."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def values(self, logits, target):
        if logits.shape != target.shape:
            raise ValueError("shapes differ")
        kind = torch.promote_types(logits.dtype, torch.float32)
        return dice(torch.sigmoid(logits.to(kind)), target.to(kind)) + F.binary_cross_entropy_with_logits(
            logits.to(kind), target.to(kind), reduction="none"
        ).flatten(2).mean(-1)

    def forward(self, logits, target):
        values = self.values(logits, target)
        return values if self.reduction == "none" else values.mean()


def broken(probe):
    """A subclass of Good with one fault."""

    class Vector(Good):
        def forward(self, logits, target):
            return self.values(logits, target)

    class WrongGradient(Good):
        def forward(self, logits, target):
            value = super().forward(logits, target)
            return value.detach() + 2 * (value - value.detach())

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient.detach()

    class OnceDifferentiable(Good):
        def values(self, logits, target):
            return super().values(Once.apply(logits), target)

    class SilentOnEmpty(Good):
        def values(self, logits, target):
            return super().values(logits, target) * (target.flatten(2).sum(-1) > 0)

    class BlindToMisses(Good):
        def values(self, logits, target):
            return (torch.sigmoid(logits) * (1 - target.to(logits))).flatten(2).mean(-1)

    class Reversed(Good):
        def values(self, logits, target):
            return -super().values(logits, target)

    class NaiveLog(Good):
        def values(self, logits, target):
            p, y = torch.sigmoid(logits), target.to(logits)
            return -(y * p.log() + (1 - y) * (1 - p).log()).flatten(2).mean(-1)

    class InItsOwnType(Good):
        def values(self, logits, target):
            return dice(torch.sigmoid(logits), target.to(logits))

    class Coarse(Good):
        def values(self, logits, target):
            return super().values(
                (logits * 0.3).bfloat16().float() if logits.dtype == torch.bfloat16 else logits, target
            )

    class Single(Good):
        def values(self, logits, target):
            return super().values(logits.float(), target.float())

    class Breaks(Good):
        def values(self, logits, target):
            factor = 1.0 if logits.sum().item() > 0 else 2.0
            return super().values(logits, target) * factor

    class OtherWhenCompiled(Good):
        def values(self, logits, target):
            return super().values(logits, target) * (2 if torch.compiler.is_compiling() else 1)

    class Flat(Good):
        def values(self, logits, target):
            return super().values(logits, target).sum((2, 3)) if logits.ndim == 5 else super().values(logits, target)

    class FloatTarget(Good):
        def values(self, logits, target):
            return super().values(logits, 1 - (1 - target))

    class Whole(Good):
        def __init__(self):
            super().__init__()

    class FirstCounts(Good):
        def forward(self, logits, target):
            return self.values(logits, target)[0].mean()

    class LeftCounts(Good):
        def values(self, logits, target):
            return super().values(logits[..., :40], target[..., :40])

    class Pooled(Good):
        def forward(self, logits, target):
            p, y = torch.sigmoid(logits), target.to(logits)
            return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)

    class Dice(Good):
        def values(self, logits, target):
            return super().values(logits + 1e-3 * torch.rand(1), target)

    class Views(Good):
        def values(self, logits, target):
            return super().values(logits.view(-1).view(logits.shape), target)

    class InPlace(Good):
        def values(self, logits, target):
            target.mul_(0.5)
            return super().values(logits, target)

    class Broadcasts(Good):
        def values(self, logits, target):
            return super().values(logits, target.expand_as(logits))

    class Multiplies(Good):
        def forward(self, logits, target, mask):
            return super().forward(logits * mask, target * mask)

    class Trusts(Good):
        def facts(self, target):
            return [{"mass": image.mean()} for image in target]

        def forward(self, logits, target, facts):
            return super().forward(logits, target) * torch.stack([fact["mass"] for fact in facts]).mean()

    class Hoards(Good):
        def values(self, logits, target):
            extra = sum((logits * (1 + k)).exp().mul(1e-12).flatten(2).mean(-1) for k in range(120))
            return super().values(logits, target) + 0 * extra

    return {
        "value": Vector,
        "gradient": WrongGradient,
        "second": OnceDifferentiable,
        "no mass": SilentOnEmpty,
        "no prediction": BlindToMisses,
        "order": Reversed,
        "saturated": NaiveLog,
        "float16": InItsOwnType,
        "bfloat16": Coarse,
        "float64": Single,
        "compile": OtherWhenCompiled,
        "fullgraph": Breaks,
        "export": Breaks,
        "3-D": Flat,
        "bool target": FloatTarget,
        "per sample": Whole,
        "permutation": FirstCounts,
        "flip": LeftCounts,
        "batch": Pooled,
        "determinism": Dice,
        "strides": Views,
        "inputs kept": InPlace,
        "wrong shape": Broadcasts,
        "mask": Multiplies,
        "foreign facts": Trusts,
        "memory": Hoards,
    }[probe]


@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe != "time"])
def test_each_probe_finds_its_fault(probe):
    (result,) = check(broken(probe), [probe])
    assert result.status == "fail", result
    assert result.detail


def test_logits_that_are_changed_beside_the_gradient_are_seen():
    class Clamps(Good):
        def values(self, logits, target):
            with torch.no_grad():
                logits.clamp_(-1, 1)
            return super().values(logits, target)

    (result,) = check(Clamps, ["inputs kept"])
    assert (result.status, result.detail) == ("fail", "changed")


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda x, y: None, "gives None, and no tensor"),
        (lambda x, y: 0.5, "gives a float, and no tensor"),
        (lambda x, y: {"loss": x.mean()}, "gives a dict, and no tensor"),
        (lambda x, y: torch.ones(()), "the value carries no gradient"),
        (lambda x, y: torch.ones((), requires_grad=True), "the value does not depend on the logits"),
    ],
)
def test_what_is_no_loss_at_all_is_told_in_words(loss, said):
    (result,) = check(lambda: loss, ["value"])
    assert (result.status, result.detail) == ("fail", said)
    assert {result.status for result in check(lambda: loss, ["saturated", "inputs kept"])} == {"fail"}


def test_a_loss_of_values_by_image_is_told_so_by_each_probe():
    """Most probes failed with what Python says of a tensor that is no number."""
    results = check(lambda: lambda x, y: F.binary_cross_entropy_with_logits(x, y.to(x), reduction="none").mean((1, -1)))
    told = {result.detail for result in results if result.probe not in ("per sample", "mask", "foreign facts", "time")}
    assert all(re.match(r"gives values of the shape \(\d, .*\), and not one number", text) for text in told), told


def test_a_loss_of_ones_own_is_asked_in_evaluation_mode_and_told_an_epoch():
    """One with dropout was called random, and one that takes its weight from the epoch failed everywhere."""

    class Scheduled(Good):
        def set_epoch(self, epoch, of):
            self.weight = 1 + epoch / of

        def values(self, logits, target):
            values = super().values(logits, target) * self.weight
            return F.dropout(values, 0.5, self.training)

    assert {result.status for result in check(Scheduled, ["value", "gradient", "determinism", "batch"])} == {"pass"}

    class Other(Good):
        def set_epoch(self, epoch):
            pass

    (result,) = check(Other, ["value"])
    assert "set_epoch must take" in result.detail


def test_a_good_loss_passes_them_all():
    assert [r for r in check(Good) if r.status != "pass"] == []


def test_a_plain_function_is_put_to_the_probes():
    def absolute(logits, target):
        return (torch.sigmoid(logits) - target.to(logits)).abs().mean()

    failed = {result.probe for result in check(lambda: absolute) if result.status != "pass"}
    assert failed == {"per sample", "wrong shape"}


def test_a_loss_that_wants_probabilities_is_handed_them():
    function = F.binary_cross_entropy
    for probabilities, status in ((True, "pass"), (False, "fail")):
        (result,) = check(lambda p=probabilities: Called(function, p), ["value"])
        assert result.status == status


def test_a_loss_that_cannot_be_built_passes_nothing():
    class Unbuilt(Good):
        def __init__(self):
            raise TypeError("no licence\nand more")

    results = check(Unbuilt)
    assert len(results) == len(PROBES)
    assert {(result.status, result.detail) for result in results} == {
        ("fail", "cannot be built: TypeError: no licence")
    }


def test_refusing_every_truth_is_no_refusal_of_a_wrong_shape():
    class Refuses(Good):
        def values(self, logits, target):
            raise ValueError("never")

    (result,) = check(Refuses, ["wrong shape"])
    assert result.status == "fail"


@pytest.mark.parametrize("name", [*LOSSES, "soft-sm:random_phase=true"])
def test_nothing_behind_a_mask_and_no_facts_of_another_image_reach_any_of_our_losses(name):
    spec = LossSpec.parse(name)
    results = check(lambda reduction="mean": spec.make(reduction=reduction), ["mask", "foreign facts"])
    assert [result for result in results if result.status != "pass"] == []
    unmasked = {"ssim", "ssl", "rmi", "density-asp"}  # which look at neighbourhoods
    assert results[0].detail == ("refused: ValueError" if name in unmasked else "")


def test_a_loss_of_others_that_takes_no_mask_and_no_facts_is_told_to():
    details = [result.detail for result in check(Good, ["mask", "foreign facts"])]
    assert details == ["takes none", "takes none"]


def test_time_is_told():
    (result,) = check(Good, ["time"])
    assert result.status == "pass"
    assert result.detail.endswith("x BCE")


def asked(*arguments):
    """The command in a process of its own: the suite's type checks do not compile."""
    command = [sys.executable, "-m", "massmatch", "losses", "check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return done.returncode, done.stdout, done.stderr


def failures(out):
    """The probes that each loss failed, as the command prints them for programs."""
    return {name: {r["probe"] for r in results if r["status"] != "pass"} for name, results in json.loads(out).items()}


@pytest.mark.long
def test_ours_passes_all_others_fail_where_they_must_and_both_tables_say_so(tmp_path):
    """With a cell size of two sides the third axis of a volume has none; PyTorch's own takes no bool targets."""
    names = ("sm-tversky-sd-nz", "sm-dice-sd-nz:cell_size=8x8", "torch.nn:BCEWithLogitsLoss")
    code, out, error = asked(*names, "--json", "--markdown", tmp_path / "t.md")
    assert code == 1, error
    found = failures(out)
    assert found["sm-tversky-sd-nz"] == set()
    assert found["sm-dice-sd-nz:cell_size=8x8"] == {"3-D"}
    assert "bool target" in found["torch.nn:BCEWithLogitsLoss"]
    assert f"| `sm-tversky-sd-nz` | {len(PROBES)}/{len(PROBES)} |" in (tmp_path / "t.md").read_text()


def test_the_exit_code_is_0_if_every_probe_passes_and_the_screen_counts_them(monkeypatch):
    few = ("value", "no mass", "strides")
    monkeypatch.setattr("massmatch.losses.conformance.check.check", lambda make: check(make, few))
    result = CliRunner().invoke(app, ["losses", "check", "sm-tversky-sd-nz"])
    assert result.exit_code == 0, result.output
    assert "3/3" in result.output


GRAPH = {"fullgraph", "export"}  # the number of masses follows from the data
KNOWN = {  # docs/systems.md says why
    "instance": GRAPH,
    "blob": {"export"},
    "cc-dice-bce": {"export"},
    "catmil": {"export"},
    "hausdorff-dt": {*GRAPH, "gradient", "second"},
    "ssl": {"gradient", "second", "order"},
    "density-asp": {"gradient", "second", "order"},
    "rmi": {"3-D", "flip"},
}


@pytest.mark.long
def test_every_loss_passes_but_for_what_is_known():
    _, out, error = asked("all", "soft-sm:random_phase=true", "--json")
    assert out, error
    for name, failed in failures(out).items():
        assert failed == (KNOWN.get(name, set())), name


@pytest.mark.parametrize(
    ("name", "told"),
    [("tverky", "did you mean 'tversky'"), ("torch.nn:Nothing", "no such loss"), ("no.such:X", "no such loss")],
)
def test_names_that_are_not(name, told):
    result = CliRunner().invoke(app, ["losses", "check", name])
    assert result.exit_code == 2
    assert told in result.output


def ending(logits, target):
    raise SystemExit(0)


def test_a_loss_that_ends_the_program_fails_its_probes():
    assert {result.detail for result in check(lambda: ending, ["value", "no mass"])} == {"SystemExit: 0"}
    assert {result.detail for result in check(lambda: exit(3), ["value"])} == {"cannot be built: SystemExit: 3"}


def test_a_loss_that_remembers_its_calls_is_not_deterministic():
    class Remembers(Good):
        calls = 0

        def forward(self, logits, target):
            self.calls += 1
            return super().forward(logits, target) * self.calls

    (result,) = check(Remembers, ["determinism"])
    assert (result.status, result.detail) == ("fail", "the second call differs")
