"""A tensor's address is that of its block on the device, where nothing can be read: what needs the bytes finds them."""

import io
import subprocess
import sys

import pytest
import torch

from autograder.simgpu import compat
from autograder.simgpu.driver import ADDRESSES_PER_DEVICE, FIRST_ADDRESS
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.storage import unwrap


def _blocks(device=0):
    return {
        block["address"]: block
        for segment in torch.simgpu.memory_snapshot()
        if segment["device"] == device
        for block in segment["blocks"]
    }


def test_a_tensor_has_the_address_of_its_block(device):
    """Do data_ptr(), the snapshot and the history name one place, and do views add their offsets?"""
    torch.simgpu.memory._record_memory_history()
    try:
        x = torch.ones(1000, device=device)
        trace = torch.simgpu.memory._snapshot()["device_traces"][0]
    finally:
        torch.simgpu.memory._record_memory_history(None)
    assert [entry["addr"] for entry in trace if entry["action"] == "alloc"] == [x.data_ptr()]
    block = _blocks()[x.data_ptr()]
    assert block["state"] == "active_allocated" and block["requested_size"] == 4000
    assert x[3:].data_ptr() == x.data_ptr() + 12 and x.view(10, 100)[2, 5:].data_ptr() == x.data_ptr() + 820
    assert x.untyped_storage().data_ptr() == x.data_ptr() and x.data_ptr() % 512 == 0


def test_the_next_tensor_of_its_size_gets_a_freed_address(device):
    """Is reuse seen in the address, as PyTorch's own tests look for it?"""
    x = torch.empty(1000, device=device)
    y = torch.empty(1000, device=device)
    address = x.data_ptr()
    assert y.data_ptr() != address
    del x
    assert torch.empty(1000, device=device).data_ptr() == address


def test_nothing_has_address_zero(device):
    """Do empty tensors and storages say 0?"""
    assert torch.empty(0, device=device).data_ptr() == 0
    assert torch.UntypedStorage(0, device=device).data_ptr() == 0
    assert torch.ones(4, device=device).untyped_storage().new().data_ptr() == 0


def test_addresses_are_no_process_s(device):
    """Are they above all that the kernel gives out, and below the tag of a pointer, for every device?"""
    from autograder.simgpu.devices import MOST_DEVICES

    with open("/proc/self/maps", encoding="utf-8") as maps:
        ends = [int(line.split()[0].split("-")[1], 16) for line in maps if "vsyscall" not in line]
    assert max(ends) <= FIRST_ADDRESS <= torch.ones(1, device=device).data_ptr()
    assert FIRST_ADDRESS + MOST_DEVICES * ADDRESSES_PER_DEVICE <= 1 << 56


def test_growing_a_storage_moves_it_and_its_views(device):
    """Does a storage that grew have the address of its new block, in every view?"""
    x = torch.ones(100, device=device)
    view = x[10:]
    before = x.data_ptr()
    if not compat.can_exchange_storages():
        pytest.skip("this torch cannot resize a device storage")
    x.untyped_storage().resize_(4000)
    assert x.data_ptr() != before and view.data_ptr() == x.data_ptr() + 40
    assert x.data_ptr() in _blocks() and view.sum().item() == 90


def test_dlpack_shares_the_memory(device):
    """Does a tensor that came through DLPack read and write the same bytes, at the same address?"""
    x = torch.arange(8.0, device=device)
    y = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x[2:]))
    y[0] = 70
    assert x[2].item() == 70 and y.device == x.device and y.data_ptr() == x[2:].data_ptr()


def test_a_storage_of_no_block_is_refused(device):
    """Is an address that the simulated GPU never gave a sentence, and no crash?"""
    storage = torch._C._construct_storage_from_data_pointer(4096, torch.device(device), 8)
    x = torch.empty(0, device=device).set_(storage, 0, (2,), (1,))
    with pytest.raises(RuntimeError, match="where none of its tensors lies"):
        x + 1


def _saved(x):
    buffer = io.BytesIO()
    torch.save(x, buffer)
    buffer.seek(0)
    return torch.load(buffer, map_location="cpu").tolist()


def _saved_the_old_way(x):
    buffer = io.BytesIO()
    torch.save(x, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    return torch.load(buffer, map_location="cpu").tolist()


def _swapped(x):
    storage = x.clone().untyped_storage()
    storage.byteswap(torch.float32)
    storage.byteswap(torch.float32)
    return torch.empty(0, device=x.device).set_(storage, 0, (4,), (1,)).tolist()


READERS = {
    "save": _saved,
    "legacy save": _saved_the_old_way,
    "byteswap": _swapped,
    "storage on the host": lambda x: torch.empty(0).set_(x.untyped_storage().cpu(), 0, (4,), (1,)).tolist(),
    "typed storage": lambda x: x.storage().tolist(),
    "copied storage": lambda x: (
        torch.empty(0, device=x.device).set_(x.untyped_storage().clone(), 0, (4,), (1,)).tolist()
    ),
    "bytes of a storage": lambda x: (
        torch.tensor(list(x.untyped_storage()), dtype=torch.uint8, device="cpu").view(torch.float32).tolist()
    ),
}


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_storage_finds_the_bytes(name, device):
    """Does everything of torch that reads a storage itself go through the memory behind it?"""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], device=device)
    assert READERS[name](x) == [1, 2, 3, 4]


REFUSED = {
    "numpy": "x.numpy()",
    "numpy's asarray": "__import__('numpy').asarray(x)",
    "numpy's from_dlpack": "__import__('numpy').from_dlpack(x)",
    "a buffer": "memoryview(x)",
    "another process": "__import__('multiprocessing').reduction.ForkingPickler.dumps(x)",
    "shared memory": "x.untyped_storage()._share_filename_cpu_()",
    "a lazy copy": "x._lazy_clone().add_(1)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_have_the_bytes_is_told(name):
    """Does nothing that asks for the address end the process? In a process of its own, to see."""
    program = (
        "import torch, torch.multiprocessing, multiprocessing.reduction\n"
        "from autograder import simgpu\n"
        "x = torch.ones(4, device=simgpu.enable())\n"
        f"try: {REFUSED[name]}\n"
        "except Exception as error: print('told:', type(error).__name__)\n"
        "else: print('told: served')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("told:"), done.stderr[-2000:]


def test_a_record_says_what_the_tensor_says(device):
    """Do the books know a storage by the address that its tensor shows, and find it there?"""
    x = torch.ones(1000, device=device)
    record = LEDGER.record_at(x[500:].data_ptr())
    assert record is not None and record.data_ptr == x.data_ptr()
    assert unwrap(x).data_ptr() == record.host.data_ptr() != x.data_ptr()
    assert LEDGER.record_at(x.data_ptr() + 4000) is None
