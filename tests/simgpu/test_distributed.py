"""Two ranks on simulated GPUs over gloo: are results the CPU's, and is memory per rank what DDP and FSDP2 need?"""

import json

import pytest
import torch
import torch.multiprocessing

from autograder.simgpu import collectives
from tests.simgpu import ranks

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank measured; the processes run once for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(ranks.main, (str(folder),), ranks.RANKS)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks.RANKS)]


def test_every_collective_gives_what_gloo_gives_on_the_cpu(found):
    for rank in found:
        assert len(rank["collectives on cpu"]) == 14
        assert rank["collectives on simgpu"] == rank["collectives on cpu"]
    assert found[0]["collectives on simgpu"]["all_reduce"] == [12, 14]
    assert found[1]["collectives on simgpu"]["send and recv"] == [1, 2]


def test_replacing_torchs_kernels_warns_nobody(found):
    assert [rank["warnings"] for rank in found] == [[], []]


def test_a_list_is_gathered_through_one_flat_tensor_as_with_nccl(found):
    assert [rank["gathered through"] for rank in found] == [1, 1]


def test_ddp_needs_three_times_its_parameters_and_twice_with_bucket_views(found):
    """Parameters, gradients, and buckets that live as long as DDP does; views make gradients and buckets one."""
    for rank in found:
        assert rank["ddp default"]["ratios"] == pytest.approx([2, 3, 3], abs=0.01)
        assert rank["ddp view"]["ratios"] == pytest.approx([2, 2, 2], abs=0.01)
        assert rank["left after ddp"] == 0


def test_ddps_gradients_are_those_of_the_cpu_and_equal_on_both_ranks(found):
    for name in ("ddp default", "ddp view", "ddp on cpu"):
        assert found[0][name]["gradient"] == found[1][name]["gradient"]
        assert found[0][name]["gradient"] == pytest.approx(found[0]["ddp on cpu"]["gradient"], rel=1e-5)


def test_sync_batch_norm_over_two_ranks_is_batch_norm_of_all(found):
    assert max(rank["sync batch norm"] for rank in found) < 1e-5


def test_no_sync_leaves_ranks_apart_until_the_next_backward(found):
    first, second = (rank["no_sync"] for rank in found)
    assert first["between"] != second["between"] and first["after"] == second["after"]


def test_parameters_that_a_step_leaves_unused_and_static_graphs_work(found):
    for rank in range(2):
        ours, theirs = found[rank]["unused on simgpu"], found[rank]["unused on cpu"]
        assert ours[0] == [pytest.approx(row, rel=1e-5) for row in theirs[0]]
        assert ours[1] == [pytest.approx(row, rel=1e-5) for row in theirs[1]]


def test_random_operators_on_sharded_tensors_differ_by_shard_and_agree_where_replicated(found):
    first, second = found[0]["drawn"], found[1]["drawn"]
    assert first["sharded"] != second["sharded"] and first["weight"] != second["weight"]
    assert first["replicated"] == second["replicated"] and first["then"] == second["then"]
    assert (first["again"], second["again"]) == (first["sharded"], second["sharded"]), "the seed decides"
    assert 0 < min(map(abs, first["weight"])) and max(map(abs, first["weight"])) < 8**-0.5, "reset_parameters() drew them"


def test_fsdp_holds_half_of_everything_on_each_rank(found):
    """Two ranks: half of the parameters, and half of Adam's two moments; gradients are gone after zero_grad."""
    for rank in found:
        assert rank["fsdp"]["ratios"] == pytest.approx([1, 0.5, 1.5, 1.5], abs=0.01)
        assert rank["fsdp"]["losses"] == pytest.approx(rank["fsdp on cpu"]["losses"], rel=1e-5)
        assert rank["left after fsdp"] == 0


def test_every_collective_of_torch_that_has_a_cpu_kernel_is_served():
    from autograder.simgpu import compat

    names = {name[6:].partition(".")[0] for name in compat.operator_names() if name.startswith("c10d::")}
    on_cpu = {name for name in names if compat.has_kernel(f"c10d::{name}", "CPU")}
    assert on_cpu - set(collectives.OPERATORS) == {"check_for_nan", "monitored_barrier_"}
