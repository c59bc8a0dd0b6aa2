"""AU-Net: the published size, every side, every parameter."""

import pytest
import torch

from massmatch.models import MODELS, AUNet


@pytest.mark.parametrize(("channels", "millions"), [((3, 2), 75.4952), ((3, 1), 75.4951), ((1, 1), 75.4939)])
def test_has_the_published_number_of_parameters(channels, millions):
    with torch.device("meta"):
        network = AUNet(*channels)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=5e-5)


@pytest.mark.parametrize("name", ["aunet"])
@pytest.mark.parametrize("sides", [(32, 32), (33, 47), (16, 5)])
def test_logits_have_the_size_of_the_image(name, sides):
    network = MODELS[name](2, 3, 2)
    assert network(torch.randn(2, 2, *sides)).shape == (2, 3, *sides)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_gradients_reach_every_parameter_of_narrow_networks(width):
    torch.manual_seed(0)
    network = AUNet(width=width).double()
    for unit in network.modules():  # a dead ReLU of one unit would hide a broken path
        if isinstance(unit, torch.nn.Linear):
            torch.nn.init.constant_(unit.bias, 0.5)
            torch.nn.init.uniform_(unit.weight, 0.1, 0.5)
    network(torch.randn(2, 1, 48, 32, dtype=torch.float64)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_residual_is_taken_after_the_first_convolution():
    block = AUNet(width=2).encoder[0].eval()
    for convolution in (block.second[0], block.third[0]):
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(block(image), block.first(image))


def test_padding_is_cropped_and_leaves_divisible_sides_alone():
    network = AUNet(width=2).eval()
    image = torch.randn(1, 1, 32, 32)
    cut = image[..., :30, :]
    padded = torch.cat([cut, cut[..., -1:, :].expand(-1, -1, 2, -1)], -2)
    torch.testing.assert_close(network(cut), network(padded)[..., :30, :])


def test_runs_channels_last_in_bfloat16():
    network = AUNet(width=4).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 1, 32, 32).to(memory_format=torch.channels_last))
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("wrong", [{"width": 0}, {"in_channels": 0}, {"out_channels": -1}])
def test_impossible_sizes_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a whole number of at least 1"):
        AUNet(**wrong)
