"""Is it noticed when a small result keeps a large storage alive?"""

import pytest
import torch

import autograder as ag
from autograder.errors import CheckFailed


def fails(x, **options):
    with pytest.raises(CheckFailed) as caught:
        ag.check.storage(x, **options)
    assert caught.value.rule == "keeps more than it shows"
    return str(caught.value)


def test_a_view_keeps_its_base(device):
    """GIVEN a row of four numbers out of a batch THEN the batch is counted."""
    said = fails({"rows": [torch.zeros(4, device=device), torch.zeros(64, 64, device=device)[0, :4]]})
    assert "allowed 1 times the 32 B" in said and "['rows'][1] shows 16 B of 16.0 KiB" in said


def test_a_copy_keeps_itself(device):
    assert ag.check.storage([torch.zeros(64, 64, device=device)[0, :4].clone(), 3.0], points=2) == 2


def test_views_that_share_a_storage_count_it_once(device):
    ag.check.storage(list(torch.zeros(8, 4, device=device)))
    fails(list(torch.zeros(8, 4, device=device))[:3])


def test_the_ratio_leaves_room(device):
    """Does a buffer half used pass where twice is allowed?"""
    ag.check.storage(torch.zeros(8, device=device)[:4], ratio=2)
    fails(torch.zeros(8, device=device)[:3], ratio=2)


def test_expanded_tensors_and_plain_numbers_keep_nothing(device):
    ag.check.storage(torch.zeros(1, device=device).expand(1000))
    assert ag.check.storage([1.0, "text", None]) == 1
