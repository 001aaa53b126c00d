"""Running the same thing on the CPU and on the simulated GPU, and comparing results and gradients."""

import torch
from torch.utils._pytree import tree_leaves, tree_map

from tests.simgpu.conftest import DEVICE


def tensors(tree):
    """All tensors in a nested structure, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def trainable(tree):
    """Its tensors that require gradients."""
    return [tensor for tensor in tensors(tree) if tensor.requires_grad]


def as_leaves(tree):
    """A nested structure with its tensors as leaves of their own: op_db has views that were cut without gradients."""
    return tree_map(
        lambda leaf: leaf.detach().requires_grad_(leaf.requires_grad) if type(leaf) is torch.Tensor else leaf, tree
    )


def to_device(tree):
    """A copy of a nested structure with its tensors (and the device names in it) moved; views keep their storage."""
    return tree_map(_move, tree)


def _move(leaf):
    if isinstance(leaf, torch.nn.utils.rnn.PackedSequence):
        return leaf.to(DEVICE)
    if isinstance(leaf, torch.Tensor):
        return _move_tensor(leaf).requires_grad_(leaf.requires_grad)
    if leaf == "cpu" or (isinstance(leaf, torch.device) and leaf.type == "cpu"):
        return DEVICE
    return leaf


def _move_tensor(tensor):
    tensor = tensor.detach()
    if (
        tensor.layout is not torch.strided
        or tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    ):
        return tensor.to(DEVICE)
    if tensor.is_conj() or tensor.is_neg():
        return tensor.to(DEVICE)
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return whole.to(DEVICE).as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def assert_same(expected, actual, what, *, values=True, **tolerance):
    """Shapes, types and (unless told otherwise) values of all tensors agree."""
    expected, actual = tensors(expected), tensors(actual)
    assert len(actual) == len(expected), f"{what}: {len(actual)} tensors, expected {len(expected)}"
    for one, other in zip(expected, actual):
        assert other.shape == one.shape and other.dtype == one.dtype, f"{what}: {other.shape} {other.dtype}"
        if values and one.layout is torch.strided:
            torch.testing.assert_close(
                other.detach().cpu(), one.detach(), equal_nan=True, msg=lambda text: f"{what}: {text}", **tolerance
            )


def assert_same_gradients(expected, actual, **options):
    """Lists of gradients agree, including which of them are None."""
    assert [g is None for g in actual] == [g is None for g in expected], "gradients missing in different places"
    assert_same(expected, actual, "gradients", **options)


def scalar(results):
    """One number per result tensor to differentiate."""
    return [result.abs().sum() if result.is_complex() else result.sum() for result in results]
