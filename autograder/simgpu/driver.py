"""The device below the allocator: how much memory it has, and which addresses are handed out.

Stands for cudaMalloc and cudaFree, and for cuMemAddressReserve and cuMemMap. Nothing is stored: an address is a name, and
tensors show it (``data_ptr()``). So addresses begin where no process has memory, and reading one ends in a fault
instead of in another tensor: Linux gives out addresses below 2**47 (x86-64) or 2**48 (arm64), and higher ones only to who
asks for them by address (Documentation/arch/x86/x86_64/5level-paging.rst, Documentation/arch/arm64/memory.rst). Below
2**56 none of them collides with a pointer's tag.
"""

from __future__ import annotations

FIRST_ADDRESS = 1 << 48
ADDRESSES_PER_DEVICE = 1 << 50  # unified addressing: no two devices share an address
ALIGNMENT = 2 << 20


class Driver:
    """Counts bytes in use against a capacity and gives out addresses; all sizes in bytes."""

    def __init__(self, capacity: int, device: int = 0):
        self.capacity = capacity
        self.in_use = 0
        self._next_address = FIRST_ADDRESS + device * ADDRESSES_PER_DEVICE
        self._returned: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """Bytes not in use, never below zero (a lowered capacity may be exceeded)."""
        return max(0, self.capacity - self.in_use)

    def malloc(self, nbytes: int) -> int | None:
        """Take memory at a new address; None when the device has too little (cudaMalloc)."""
        if nbytes > self.free:
            return None
        self.in_use += nbytes
        return self.reserve_addresses(nbytes)

    def release(self, address: int, nbytes: int) -> None:
        """Give memory and its address back (cudaFree)."""
        self.in_use -= nbytes
        self.return_addresses(address, nbytes)

    def map(self, nbytes: int) -> bool:
        """Put memory behind addresses reserved before; False when there is too little (cuMemMap)."""
        if nbytes > self.free:
            return False
        self.in_use += nbytes
        return True

    def unmap(self, nbytes: int) -> None:
        """Take the memory behind some addresses away (cuMemUnmap)."""
        self.in_use -= nbytes

    def reserve_addresses(self, nbytes: int) -> int:
        """Reserve a range of addresses: one of that size given back before, or a new one."""
        returned = self._returned.get(nbytes)
        if returned:
            return returned.pop()
        address = self._next_address
        self._next_address += (nbytes + 2 * ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return address

    def return_addresses(self, address: int, nbytes: int) -> None:
        """Give a range of addresses back."""
        self._returned.setdefault(nbytes, []).append(address)
