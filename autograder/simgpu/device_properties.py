"""What get_device_properties() answers: every field of _CudaDeviceProperties of torch 2.13, with an A100's values.

Fields and their spelling in repr: registerCudaDeviceProperties in torch/csrc/cuda/Module.cpp (2.13). Values: deviceQuery on an
A100-SXM4-40GB (University of Paderborn, PC2 documentation, "NVIDIA A100 40GB with NVLINK"); shared memory per
multiprocessor and per block on request: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", 8.0.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

MiB = 1 << 20
_OURS = uuid.uuid5(uuid.NAMESPACE_DNS, "simgpu")


@dataclass(frozen=True)
class Uuid:
    """A device's number, unlike any GPU's: version 5 of RFC 9562, of the name "simgpu" and the index."""

    bytes: list[int]

    def __str__(self) -> str:
        return str(uuid.UUID(bytes=bytes(self.bytes)))


@dataclass(frozen=True, repr=False)
class DeviceProperties:
    """Sizes in bytes, clocks in kHz, the bus in bits. PCI numbers are made up: a simulated device is on no bus."""

    name: str
    total_memory: int
    uuid: Uuid
    pci_bus_id: int
    pci_device_id: int = 0
    pci_domain_id: int = 0
    major: int = 8
    minor: int = 0
    is_multi_gpu_board: int = 0
    is_integrated: int = 0
    multi_processor_count: int = 108
    max_threads_per_multi_processor: int = 2048
    max_threads_per_block: int = 1024
    warp_size: int = 32
    clock_rate: int = 1_410_000
    memory_clock_rate: int = 1_215_000
    memory_bus_width: int = 5120
    L2_cache_size: int = 40 * MiB
    shared_memory_per_block: int = 48 << 10
    shared_memory_per_block_optin: int = 163 << 10
    shared_memory_per_multiprocessor: int = 164 << 10
    regs_per_multiprocessor: int = 65_536

    @property
    def gcnArchName(self) -> str:
        """On a build for CUDA, the device's name."""
        return self.name

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // MiB}MB, multi_processor_count={self.multi_processor_count}, "
            f"uuid={self.uuid}, pci_bus_id={self.pci_bus_id}, pci_device_id={self.pci_device_id}, "
            f"pci_domain_id={self.pci_domain_id}, L2_cache_size={self.L2_cache_size // MiB}MB)"
        )


def properties_of(index: int, name: str, capacity: int) -> DeviceProperties:
    """The properties of a simulated device with ``capacity`` bytes."""
    number = uuid.uuid5(_OURS, str(index))
    return DeviceProperties(name, capacity, Uuid(list(number.bytes)), pci_bus_id=index + 1)
