"""Empty tensors on any simulated device.

PyTorch makes tensors of a Python device for index 0 only. For the others one template per device and type comes in by
DLPack, the public exchange format (https://dmlc.github.io/dlpack/latest/c_api.html): the capsule of an empty CPU tensor,
whose device field is rewritten. Every further tensor is an alias of its template.
"""

from __future__ import annotations

import ctypes

import torch
from torch.utils import dlpack

from autograder.simgpu import compat

_EXTERNAL_DEVICE = 12  # kDLExtDev, which PyTorch reads as its slot for extra devices (ATen/DLConvertor.cpp)
_CPU_KEYS = compat.CPU_KEYS
_alias = compat.alias
_view_as = compat.redispatch(torch.ops.aten.view.dtype)
_templates: dict[tuple[int, torch.dtype], torch.Tensor] = {}


class _DLDevice(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _DLTensorHead(ctypes.Structure):
    """The first fields of DLTensor."""

    _fields_ = (("data", ctypes.c_void_p), ("device", _DLDevice))


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


def tensor(dtype: torch.dtype, index: int) -> torch.Tensor:
    """A new empty tensor of shape [0] on the simulated device ``index``, with a storage to be replaced."""
    if index == 0:
        return compat.empty_device_tensor([0], dtype)
    template = _templates.get((index, dtype))
    if template is None:
        template = _templates[index, dtype] = _view_as(_CPU_KEYS, _received(index), dtype)
    return _alias(_CPU_KEYS, template)


def _received(index: int) -> torch.Tensor:
    capsule = dlpack.to_dlpack(torch.empty(0, dtype=torch.uint8, device="cpu"))
    head = _DLTensorHead.from_address(_get_pointer(capsule, b"dltensor"))
    head.device.device_type, head.device.device_id = _EXTERNAL_DEVICE, index
    return dlpack.from_dlpack(capsule)
