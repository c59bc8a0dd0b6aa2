"""The catalogue: every entry builds, says what it is, and refuses what it does not have with the nearest name."""

import pytest
import torch

import massmatch.losses as public
from massmatch.losses import (
    CORES,
    LOSSES,
    LossSpec,
    SpatialMatchingLoss,
    VariantName,
    WholeImageLoss,
    in_one_spelling,
    make_loss,
    text_of,
)
from massmatch.losses.entry import FIDELITIES


def test_every_entry_says_what_it_is():
    for name, entry in LOSSES.items():
        assert entry.name == name
        assert entry.source
        assert entry.line
        assert entry.fidelity.split(",")[0].split(":")[0].split(";")[0].split()[0] in FIDELITIES, name
        assert entry.description.strip(), name


def test_every_class_of_the_catalogue_is_public():
    built = {LOSSES[name].build for name in LOSSES} | set(CORES.values())
    assert {cls.__name__ for cls in built} <= set(public.__all__)
    assert all(getattr(public, cls.__name__) is cls for cls in built)


def test_cores_are_the_losses_that_can_stand_in_a_cell():
    x, y = torch.randn(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    y[..., 4:8, 4:8] = 1
    assert set(CORES) == {name for name, entry in LOSSES.items() if entry.is_core}
    for name, core in CORES.items():
        assert torch.equal(LOSSES[name]()(x, y), WholeImageLoss(core())(x, y))
        assert SpatialMatchingLoss(name)(x, y).isfinite()


def test_the_names_of_the_variants_are_their_switches():
    variants = {name: entry.variant for name, entry in LOSSES.items() if entry.variant}
    assert len(variants) == 24
    for name, variant in variants.items():
        _, core, weighting, aggregation = name.split("-")
        assert variant == VariantName(core, weighting, aggregation)
        loss = LOSSES[name]()
        assert type(loss.core) is CORES[core]
        assert (loss.scale, loss.distance) == ("s" in weighting, "d" in weighting)
        assert loss.nonzero == (aggregation == "nz")


def test_the_reconstructions_are_those_whose_details_nobody_published():
    assert {name for name, entry in LOSSES.items() if entry.is_reconstruction} == {
        *("asp-q", "asp-c", "asp-l", "density-asp", "instance")
    }


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'tversky'"):
        LOSSES["tverky"]
    with pytest.raises(ValueError, match=f"unknown loss 'nope'; did you mean '.*'.* lists all {len(LOSSES)}"):
        LOSSES["nope"]
    assert LOSSES.get("nope") is None


def test_unknown_options_are_told_with_the_nearest_and_all_there_are():
    with pytest.raises(ValueError, match=r"loss focal has no option 'gama'; did you mean 'gamma'. It has alpha, gamma"):
        LOSSES["focal"](gama=1)
    with pytest.raises(ValueError, match="no option 'strategy'"):  # the name decides it
        LOSSES["asp-q"](strategy="cluster")
    with pytest.raises(ValueError, match="loss bce has no option 'x'; it has none"):
        LOSSES["bce"](x=1)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("bce", "bce", {}),
        ("soft-sm:random_phase=true", "soft-sm", {"random_phase": True}),
        (
            "sm-bce-s-a:cell_size=8x16,smooth=0.1,min_cell=1,cell_statistic=mean",
            "sm-bce-s-a",
            {"cell_size": (8, 16), "smooth": 0.1, "min_cell": 1, "cell_statistic": "mean"},
        ),
        ("focal:alpha=null,gamma=1e-3", "focal", {"alpha": None, "gamma": 0.001}),
        ("x:a=False,b=-2", "x", {"a": False, "b": -2}),
    ],
)
def test_specifications_are_read_and_written(text, name, options):
    spec = LossSpec.parse(text)
    assert (spec.name, spec.options) == (name, options)
    assert [type(value) for value in spec.options.values()] == [type(value) for value in options.values()]
    assert LossSpec.parse(str(spec)) == spec
    assert LossSpec.parse(f"{name}:{spec.option_text}") == spec


@pytest.mark.parametrize(
    ("texts", "one"),
    [
        (["soft-sm", "soft-sm:", "soft-sm:core=hybrid", "soft-sm:normalise=true,levels=1"], "soft-sm"),
        (["soft-sm:random_phase=TRUE,stray=0.50", "soft-sm:random_phase=true,"], "soft-sm:random_phase=true"),
        (
            ["focal:gamma=3,alpha=0.5", "focal:alpha=5e-1,gamma=3.0", "focal:gamma=3e0,alpha=.5"],
            "focal:alpha=0.5,gamma=3",
        ),
        (["sm-bce-s-a:matched_weight=null,cell_size=8x4"], "sm-bce-s-a:cell_size=8x4"),
        (["boundary:start=0.0", "boundary:start=-0.0", "boundary:start=0"], "boundary:start=0"),
        (["my_module:Mine:b=1,a=1.0"], "my_module:Mine:a=1.0,b=1"),  # one's own may tell 1 from 1.0
    ],
)
def test_one_loss_has_one_spelling(texts, one):
    assert {in_one_spelling(text) for text in texts} == {one}
    assert in_one_spelling(one) == one
    if ":Mine" not in one:
        assert {repr(make_loss(text)).replace(".0,", ",").replace("-0,", "0,") for text in texts} == {
            repr(make_loss(one)).replace(".0,", ",")
        }


def test_a_square_cell_has_one_spelling():
    """`cell_size=8x8` was another experiment than `cell_size=8`."""
    one, other = "sm-bce-s-a:cell_size=8", "sm-bce-s-a:cell_size=8x8"
    assert in_one_spelling(other) == in_one_spelling(one) == one
    logits, target = torch.linspace(-3, 3, 1024).reshape(1, 1, 32, 32), torch.eye(32)[None, None]
    assert torch.equal(make_loss(one)(logits, target), make_loss(other)(logits, target))


def test_every_default_may_be_written_out():
    for name, entry in LOSSES.items():
        text = ",".join(f"{option.name}={text_of(option.default)}" for option in entry.options())
        assert repr(make_loss(f"{name}:{text}")) == repr(make_loss(name)), name
        assert in_one_spelling(f"{name}:{text}") == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tversky:smooth", "options are written name:option=value"),
        ("dice:MyLoss", "has 'MyLoss'; a module of one's own that is called like a loss must get another name"),
        ("bce:cell_size=[8", "written 8x16"),
    ],
)
def test_what_is_no_specification_is_told(text, said):
    with pytest.raises(ValueError, match=said):
        LossSpec.parse(text)


def test_a_loss_is_made_from_its_text():
    loss = make_loss("sm-tversky-s-a:cell_size=8x4,smooth=0.5", reduction="none")
    assert (loss.rule.cell_size, loss.core.smooth, loss.reduction) == ((8, 4), 0.5, "none")


def test_a_name_that_no_loss_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'massmatch\.losses' has no attribute 'BlobLos'"):
        _ = public.BlobLos


def test_none_as_python_writes_it_is_no_word():
    """`cell_size=None` was the text "None", which a loss of one's own took in silence; none stays torch's word."""
    read = LossSpec.parse("my_module:MyLoss:a=None,b=null,c=none,reduction=none").options
    assert read == {"a": None, "b": None, "c": "none", "reduction": "none"}
    assert str(LossSpec("my_module:MyLoss", read)) == "my_module:MyLoss:a=null,b=null,c=none,reduction=none"
