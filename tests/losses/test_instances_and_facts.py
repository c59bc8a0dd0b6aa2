"""Instances that do not belong to the facts, or leave a part of the truth out, are refused and never dropped."""

import pytest
import torch
from torch.utils.data import default_collate

from massmatch.losses import LOSSES

READ = ["soft-sm", "sm-tversky-sd-nz", "blob", "cc-dice-bce", "catmil", "instance"]
LOGITS = torch.randn(2, 1, 32, 24, generator=torch.Generator().manual_seed(0))
TRUTH = torch.zeros(2, 1, 32, 24)
TRUTH[0, 0, 3:15, 4:12] = 1
TRUTH[1, 0, 15:20, 2:5] = 1
LABELS = TRUTH.long()
LABELS[0, 0, 3:9] *= 2  # two masses that touch


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("collated", [False, True])
def test_facts_with_the_instances_of_the_call_give_the_value_of_both(name, collated):
    loss = LOSSES[name]()
    facts = loss.facts(TRUTH, instances=LABELS)
    facts = default_collate(facts) if collated else facts
    expected = loss(LOGITS, TRUTH, instances=LABELS)
    assert expected != loss(LOGITS, TRUTH)
    torch.testing.assert_close(loss(LOGITS, TRUTH, facts=facts), expected)
    torch.testing.assert_close(loss(LOGITS, TRUTH, instances=LABELS.float(), facts=facts), expected)


@pytest.mark.parametrize("name", READ)
def test_facts_of_other_instances_are_refused(name):
    loss = LOSSES[name]()
    with pytest.raises(ValueError, match=r"^facts\[0\] was made without instances: make it with facts\(target, inst"):
        loss(LOGITS, TRUTH, instances=LABELS, facts=loss.facts(TRUTH))
    with pytest.raises(ValueError, match=r"^facts\[0\] was made with other instances"):
        loss(LOGITS, TRUTH, instances=LABELS, facts=loss.facts(TRUTH, instances=TRUTH))


@pytest.mark.parametrize("name", READ)
def test_a_mask_over_a_part_of_the_truth_wants_the_instances_again(name):
    loss = LOSSES[name]()
    mask = torch.ones_like(TRUTH)
    mask[..., 10:] = 0
    facts = loss.facts(TRUTH, instances=LABELS)
    with pytest.raises(ValueError, match="hand over these instances, too"):
        loss(LOGITS, TRUTH, mask=mask, facts=facts)
    expected = loss(LOGITS, TRUTH, mask=mask, instances=LABELS)
    torch.testing.assert_close(loss(LOGITS, TRUTH, mask=mask, instances=LABELS, facts=facts), expected)


@pytest.mark.parametrize("name", ["boundary", "hausdorff-dt", "region-wise", "dice"])
def test_losses_that_read_no_instances_take_facts_of_any(name):
    loss = LOSSES[name]()
    for facts in (loss.facts(TRUTH), loss.facts(TRUTH, instances=LABELS)):
        torch.testing.assert_close(loss(LOGITS, TRUTH, instances=LABELS, facts=facts), loss(LOGITS, TRUTH))


@pytest.mark.parametrize("name", READ)
def test_mass_without_an_instance_is_refused(name):
    loss, labels = LOSSES[name](), LABELS.clone()
    labels[1] = 0
    for made in (loss.facts, lambda target, instances: loss(LOGITS, target, instances=instances)):
        with pytest.raises(ValueError, match="instances must label every pixel of true mass, but some are 0"):
            made(TRUTH, instances=labels)
