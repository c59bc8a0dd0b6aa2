"""Every network: sizes, gradients, evaluation, deep supervision, cost; and the parts that could be wrong unseen."""

import pytest
import torch

from massmatch.models import MODELS
from massmatch.models.blocks import Gate
from massmatch.models.cost import cost
from massmatch.models.dense import DenseBlock
from massmatch.models.swin_unet import WINDOW, WindowAttention, assembled, seam_mask, windows

NAMES = [name for name in MODELS if name != "aunet"]
SUPERVISED = {"unet++": 4, "unet3+": 5, "attention-unet++": 4, "dilated-unet++": 4, "dsunet": 7}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai.*", "ignore::FutureWarning")


def as_list(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


def build(name, width=4):
    torch.manual_seed(0)
    return MODELS[name](1, 1, fitting(name, width))


def fitting(name, width):
    """The least width of a network from this one on."""
    step = MODELS[name].width_step
    return -(-width // step) * step


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_size_of_the_image_and_gradients_reach_everything(name):
    network = build(name)
    outputs = as_list(network(torch.randn(2, 1, 70, 61)))
    assert [o.shape for o in outputs] == [(2, 1, 70, 61)] * SUPERVISED.get(name, 1)
    sum(o.square().mean() for o in outputs).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation_images_do_not_see_each_other(name):
    network = build(name).eval()
    images = torch.randn(3, 1, 32, 32)
    together = network(images)
    assert isinstance(together, torch.Tensor)
    torch.testing.assert_close(together[1:2], network(images[1:2]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(images), together, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(SUPERVISED))
def test_the_first_of_the_list_is_the_main_output(name):
    network = build(name)
    for unit in network.modules():  # so that batch statistics do not differ between the modes
        if isinstance(unit, torch.nn.BatchNorm2d):
            unit.eval()
        if isinstance(unit, torch.nn.Dropout):
            unit.p = 0.0
    images = torch.randn(2, 1, 32, 32)
    first = network(images)[0]
    assert len({tuple(o.flatten().tolist()) for o in network(images)}) == SUPERVISED[name]
    network.eval()
    torch.testing.assert_close(network(images), first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [{"width": 0}, {"in_channels": 0}, {"out_channels": 1.5}])
def test_wrong_sizes_are_refused(name, wrong):
    with pytest.raises((ValueError, TypeError)):
        MODELS[name](**{"in_channels": 1, "out_channels": 1, "width": fitting(name, 4), **wrong})


@pytest.mark.parametrize(
    ("name", "width", "near"),
    [
        ("swin-unetr", 8, "must be a multiple of 12 for this network, but is 8: take 12$"),
        ("swin-unetr", 64, "must be a multiple of 12 for this network, but is 64: take 60 or 72$"),
        ("swin-unet", 8, "must be a multiple of 3 for this network, but is 8: take 6 or 9$"),
    ],
)
def test_a_width_that_cannot_be_built_is_refused_with_the_nearest_ones(name, width, near):
    with pytest.raises(ValueError, match=near):
        MODELS[name](1, 1, width)


@pytest.mark.parametrize("name", NAMES)
def test_every_other_width_is_built_as_it_is_asked_for(name):
    step = MODELS[name].width_step
    sizes = [sum(p.numel() for p in MODELS[name](1, 1, n * step).parameters()) for n in (4, 5, 6)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("name", NAMES)
def test_channels_in_and_out(name):
    assert as_list(MODELS[name](3, 2, fitting(name, 2))(torch.randn(2, 3, 32, 32)))[0].shape == (2, 2, 32, 32)


@pytest.mark.long
@pytest.mark.parametrize("name", [*NAMES, "aunet"])
def test_each_learns_to_find_a_square(name):
    network = build(name)
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    target = torch.zeros(4, 1, 32, 32)
    for n in range(4):
        target[n, 0, 4 + 3 * n : 14 + 3 * n, 6 + 2 * n : 16 + 2 * n] = 1
    images = target + 0.3 * torch.randn(target.shape)
    for _ in range(60):
        optimizer.zero_grad()
        outputs = as_list(network(images))
        sum(torch.nn.functional.binary_cross_entropy_with_logits(o, target) for o in outputs).backward()
        optimizer.step()
    found = as_list(network(images))[0] > 0
    truth = target > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_cost_of_a_known_network():
    """AU-Net: 75.49 million parameters, some 213 GFLOP at 256 x 256 (counted by others with 3 channels)."""
    parameters, operations = cost(MODELS["aunet"], 64)
    assert parameters == 75_493_889 or abs(parameters / 1e6 - 75.4939) < 1e-3
    assert operations / 1e9 == pytest.approx(213, rel=0.02)
    assert MODELS["swin-unet"].published_width == 96


# --- parts -----------------------------------------------------------------------------------------------------------


def test_windows_there_and_back():
    x = torch.arange(2 * 16 * 24 * 3.0).reshape(2, 16, 24, 3)
    cut = windows(x)
    assert cut.shape == (2 * 2 * 3, 64, 3)
    torch.testing.assert_close(cut[1].reshape(WINDOW, WINDOW, 3), x[0, :8, 8:16])
    torch.testing.assert_close(assembled(cut, x.shape), x)


def test_window_attention_against_a_loop():
    torch.manual_seed(0)
    attention = WindowAttention(6, 3).double()
    x = torch.randn(2, 64, 6, dtype=torch.float64)
    found = attention(x, None)
    qkv = attention.qkv(x).reshape(2, 64, 3, 3, 2)
    slow = torch.zeros(2, 64, 6, dtype=torch.float64)
    for n in range(2):
        for head in range(3):
            q, k, v = (qkv[n, :, part, head] for part in range(3))
            scores = q @ k.T / 2**0.5
            for i in range(64):
                for j in range(64):
                    row, col = i // 8 - j // 8 + 7, i % 8 - j % 8 + 7
                    scores[i, j] += attention.bias[row * 15 + col, head]
            slow[n, :, 2 * head : 2 * head + 2] = scores.softmax(-1) @ v
    torch.testing.assert_close(found, attention.out(slow))


def test_nothing_is_seen_across_the_seam():
    """After rolling by 4, the last window of a row holds columns 12 to 15 and 0 to 3 of the image."""
    mask = seam_mask(16, 16, torch.device("cpu"))
    assert mask.shape == (4, 64, 64)
    assert mask[0].all()  # away from the seams everything sees everything
    side = mask[1].reshape(8, 8, 8, 8)
    assert side[0, 0, 0, 3]
    assert not side[0, 0, 0, 4]
    corner = mask[3].reshape(8, 8, 8, 8)
    assert not corner[0, 0, 7, 0]
    assert corner[5, 5, 6, 6]


def test_a_gate_keeps_size_and_only_weakens():
    gate = Gate(6, 10).eval()
    skip, signal = torch.randn(2, 6, 12, 8), torch.randn(2, 10, 6, 4)
    found = gate(skip, signal)
    assert (found.abs() <= skip.abs()).all()
    assert (found.sign() == skip.sign()).all()


def test_a_dense_block_keeps_its_input():
    block = DenseBlock(3, 2, 4)
    x = torch.randn(1, 3, 8, 8)
    assert block(x).shape == (1, 11, 8, 8)
    torch.testing.assert_close(block(x)[:, :3], x)
