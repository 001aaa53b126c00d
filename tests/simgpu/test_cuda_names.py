"""Every name of torch.cuda and of its submodules keeps its kind while it means the simulated GPU, and says what it cannot do."""

import ast
import importlib
import inspect
import pkgutil
import typing

import pytest
import torch

from autograder.errors import NotSimulated
from autograder.simgpu.cuda_shim import c_names, cuda_means_simgpu, cuda_module, table

MODULES = {"torch.cuda": torch.cuda} | {
    module.name: importlib.import_module(module.name)
    for module in pkgutil.iter_modules(torch.cuda.__path__, "torch.cuda.")
    if not module.name.startswith("torch.cuda._")
}


@pytest.fixture
def cuda(device):
    with cuda_means_simgpu():
        yield torch.device("cuda", 0)


def _names():
    for path, module in MODULES.items():
        for name in {*getattr(module, "__all__", ()), *(name for name in vars(module) if not name.startswith("_"))}:
            if hasattr(module, name):
                yield path, module, name


def _kind(thing) -> str:
    if inspect.isclass(thing):
        return "class"
    if inspect.ismodule(thing):
        return "module"
    return "callable" if callable(thing) else type(thing).__name__


def test_every_name_keeps_its_kind(device):
    """Is a class still a class, a module a module, a function a function?"""
    before = {(path, name): _kind(getattr(module, name)) for path, module, name in _names()}
    with cuda_means_simgpu():
        during = {(path, name): _kind(getattr(module, name)) for path, module, name in _names()}
    assert len(before) > 250
    assert {key: (kind, during.get(key)) for key, kind in before.items() if during.get(key) != kind} == {}


def test_every_name_of_torch_cuda_has_an_answer():
    """Would a name added by a new torch be noticed?"""
    names = {*torch.cuda.__all__, *torch.cuda.memory.__all__}
    refused = {name for module, name in cuda_module.REFUSED if module == "cuda"}
    legacy = {*cuda_module.LEGACY_TYPES, *cuda_module.LEGACY_STORAGES}
    ours = {name for name in names if hasattr(torch.simgpu, name)} | legacy
    assert names - ours - set(cuda_module.ANSWERED) - refused - cuda_module.LEFT == set()
    asked = {name for name in cuda_module.ANSWERED if not name.startswith("_")} | refused
    assert ours & asked == set(), "torch.simgpu has these by now"


@pytest.mark.parametrize("key", cuda_module.REFUSED, ids=".".join)
def test_what_is_refused_says_why(key, cuda):
    """Does calling it raise the reason, whatever it is called with?"""
    path, name = key
    home = torch
    for part in path.split("."):
        home = getattr(home, part)
    if not hasattr(home, name):
        pytest.skip("this torch has no such name")
    for arguments in ((), (1,), (None, 2)):
        with pytest.raises(NotSimulated, match=rf"torch\.{path}\.{name} is not simulated: .{{10}}"):
            getattr(home, name)(*arguments)


def _asks_of_c(node) -> set[str]:
    """Names of torch._C that a function or class uses and this torch does not have."""
    found = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute) and _is_c(item.value)}
    return {name for name in found if not hasattr(torch._C, name)}


def _is_c(value) -> bool:
    return getattr(value, "attr", None) == "_C" or getattr(value, "id", None) == "_C"


def test_nothing_ends_in_an_attribute_error_of_c(device):
    """Is everything in torch.cuda that asks torch._C for CUDA replaced, refused, or answered there?"""
    named = {(row.owner.__name__, row.name) for row in table._rows()}
    open_ends = {}
    for module in (
        torch.cuda,
        *(importlib.import_module(m.name) for m in pkgutil.iter_modules(torch.cuda.__path__, "torch.cuda.")),
    ):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (module.__name__, node.name) not in named:
                open_ends[module.__name__, node.name] = _asks_of_c(node) - set(c_names.IN_C)
    assert {key: names for key, names in open_ends.items() if names} == {}


def test_c_tells_streams_and_devices_by_number(cuda):
    """Do programs that go past torch.cuda to torch._C find devices and streams there, as in torch/csrc/cuda/Module.cpp?"""
    before, other = torch._C._cuda_getCurrentStream(0), torch.cuda.Stream()
    assert before == torch._C._cuda_getDefaultStream(0) == (0, 0, 1)
    torch._C._cuda_setStream(other.stream_id, other.device_index, other.device_type)
    assert torch.cuda.current_stream() == other
    assert torch._C._cuda_getCurrentRawStream(0) == other.cuda_stream
    torch._C._cuda_setStream(*before)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch._C._cuda_setDevice(torch._C._cuda_getDevice())
    assert torch._C._cuda_getDeviceCount() == torch.cuda.device_count()
    assert torch._C._cuda_exchangeDevice(0) == torch._C._cuda_maybeExchangeDevice(-1) == 0
    torch._C._cuda_synchronize()


def test_a_kernel_of_one_s_own_can_be_named_but_not_run(cuda):
    """Can libraries that make jiterator functions be imported, and does calling one give the reason?"""
    function = torch.cuda.jiterator._create_jit_fn("template <typename T> T twice(T x) { return x + x; }")
    with pytest.raises(NotSimulated, match="jiterator is not simulated: it compiles a kernel"):
        function(torch.ones(2, device="cuda"))


CLASSES = ("CUDAGraph", "graph", "ExternalStream", "GreenContext", "CUDAPluggableAllocator")


@pytest.mark.parametrize("name", CLASSES)
def test_a_refused_class_is_a_class(name, cuda):
    """Can libraries that are imported name it, ask for it and derive from it, as long as they make none?"""
    kind = getattr(torch.cuda, name)

    def annotated(thing: kind | None = None, more: typing.Optional[kind] = None) -> list[kind]:  # noqa: UP045
        return []

    class Derived(kind):
        """One of its own."""

    assert annotated() == [] and typing.get_type_hints(annotated)["thing"] == kind | None
    assert not isinstance(3, kind) and not isinstance(None, kind | int)
    assert issubclass(Derived, kind) and not issubclass(int, kind)
    for refused in (kind, Derived):
        with pytest.raises(NotSimulated, match=f"{name} is not simulated"):
            refused()
    assert kind.__name__ == name and kind.__module__.startswith("torch.cuda")


def test_static_methods_of_a_refused_class_refuse_too(cuda):
    with pytest.raises(NotSimulated, match="GreenContext is not simulated"):
        torch.cuda.GreenContext.create(num_sms=2)


def test_an_answered_class_is_the_device_s_own(cuda):
    """Can torch.cuda's classes be derived from, asked for, and used without an object?"""

    class Mine(torch.cuda.Event):
        """One of its own."""

    event, stream = Mine(enable_timing=True), torch.cuda.Stream()
    event.record()
    assert type(event) is Mine and isinstance(event, torch.cuda.Event) and isinstance(event, torch.Event)
    assert isinstance(torch.cuda.current_stream(), torch.cuda.Stream) and isinstance(stream, torch.Stream)
    assert not isinstance(stream, Mine) and not isinstance(3, torch.cuda.Stream)
    assert torch.cuda.Stream.priority_range() == (0, -3)


def test_streams_and_events_name_themselves_cuda(cuda):
    """Do they say what a script would compare or print?"""
    stream, event = torch.cuda.Stream(), torch.cuda.Event()
    assert repr(event) == "<torch.cuda.Event uninitialized>" and (event.cuda_event, event.event_id) == (0, 0)
    assert event.device is None
    event.record(stream)
    assert event.cuda_event == event.event_id != 0 and repr(event) == f"<torch.cuda.Event {event.cuda_event:#x}>"
    assert repr(stream) == f"<torch.cuda.Stream device=cuda:0 cuda_stream={stream.cuda_stream:#x}>"
    assert stream.device == event.device == cuda and stream.__cuda_stream__() == (0, stream.cuda_stream)


@pytest.mark.parametrize("make", [lambda: "cuda", lambda: torch.device("cuda", 0), lambda: 0, lambda: None])
def test_torch_s_own_streams_and_events_are_the_device_s(make, cuda):
    """Do torch.Stream(device="cuda") and torch.Event("cuda") work, and their contexts?"""
    stream, event = torch.Stream(device=make()), torch.Event(make(), enable_timing=True)
    with stream:
        assert torch.cuda.current_stream() == stream
    event.record(stream)
    stream.wait_event(event)
    assert stream.query() and event.query() and stream.device == event.device == cuda
    assert isinstance(stream, torch.Stream) and isinstance(event, torch.Event)


STORAGES = sorted(cuda_module.LEGACY_STORAGES)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("name", STORAGES)
def test_typed_storages_are_on_the_device(name, cuda):
    """Does torch.cuda.IntStorage(10) make one, and does isinstance know it from the host's and from other types?"""
    kind, host = getattr(torch.cuda, name), getattr(torch, name)
    storage = kind(10).fill_(1)
    assert isinstance(storage, kind) and storage.tolist() == [1] * 10 and storage.data_ptr() > 0
    assert (
        not isinstance(host(10), kind) and not isinstance(kind, kind) and issubclass(kind, torch.storage.TypedStorage)
    )
    assert isinstance(host(10).cuda(), kind) and not isinstance(storage.cpu(), kind)
    others = [getattr(torch.cuda, other) for other in STORAGES if other != name]
    assert not any(isinstance(storage, other) for other in others)


def test_properties_are_all_there(cuda):
    """Are the fields and the text those of torch's _CudaDeviceProperties, with whole numbers in them?"""
    import re

    properties = torch.cuda.get_device_properties(0)
    text = re.fullmatch(
        r"_CudaDeviceProperties\(name='[^']+', major=8, minor=0, total_memory=\d+MB, multi_processor_count=108, "
        r"uuid=([0-9a-f-]{36}), pci_bus_id=\d+, pci_device_id=0, pci_domain_id=0, L2_cache_size=40MB\)",
        repr(properties),
    )
    assert text and text[1] == str(properties.uuid) and len(properties.uuid.bytes) == 16
    numbers = (
        "major minor is_multi_gpu_board is_integrated multi_processor_count total_memory max_threads_per_block "
        "max_threads_per_multi_processor warp_size shared_memory_per_block shared_memory_per_block_optin clock_rate "
        "shared_memory_per_multiprocessor regs_per_multiprocessor memory_clock_rate memory_bus_width L2_cache_size "
        "pci_bus_id pci_device_id pci_domain_id"
    )
    assert all(type(getattr(properties, field)) is int for field in numbers.split())
    assert properties.total_memory == torch.cuda.mem_get_info()[1] and properties.gcnArchName == properties.name


def test_no_array_interface(cuda):
    """Is a device tensor no array to CuPy and Numba, in a sentence?"""
    x = torch.ones(3, device="cuda")
    assert not hasattr(x, "__cuda_array_interface__") and not hasattr(torch.ones(3), "__cuda_array_interface__")
    with pytest.raises(NotSimulated, match="tensor.cpu"):
        x.__cuda_array_interface__  # noqa: B018


def test_blocks_without_a_tensor(cuda):
    """Do caching_allocator_alloc() and its counterpart give and take blocks of the device, counted like tensors?"""
    before = torch.cuda.memory_allocated()
    address = torch.cuda.caching_allocator_alloc(100_000, stream=torch.cuda.Stream())
    assert torch.cuda.memory_allocated() - before == 100_352
    assert address in {block["address"] for segment in torch.cuda.memory_snapshot() for block in segment["blocks"]}
    torch.cuda.caching_allocator_delete(address)
    assert torch.cuda.memory_allocated() == before and torch.cuda.caching_allocator_alloc(0) == 0
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        torch.cuda.caching_allocator_delete(address)


def test_observers_are_told_before_memory_runs_out(cuda):
    """Does the observer of PyTorch's memory tutorial see device, request, total and free bytes, and a usable snapshot?"""
    seen = []
    torch._C._cuda_attach_out_of_memory_observer(lambda *told: seen.append((*told, len(torch.cuda.memory_snapshot()))))
    free, total = torch.cuda.mem_get_info()
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2 * total, dtype=torch.uint8, device="cuda")
    torch.simgpu.memory.LEDGER.allocator.oom_observers.clear()
    assert [told[:3] for told in seen] == [(0, 2 * total, total)] and free <= seen[0][3] <= total


def test_tensors_are_handed_around_between_devices(device):
    """Do torch.cuda.comm's functions copy, also into tensors that are given, and refuse in CUDA's words?"""
    before = torch.simgpu.device_count()
    with cuda_means_simgpu(devices=2):
        comm, x = torch.cuda.comm, torch.arange(12.0).view(4, 3)
        there = [torch.empty(2, 3, device=f"cuda:{index}") for index in (0, 1)]
        parts = comm.scatter(x, out=there)
        assert [part.tolist() for part in parts] == [x[:2].tolist(), x[2:].tolist()] and parts[1] is there[1]
        assert comm.gather(there, out=torch.empty(4, 3, device="cuda:1")).tolist() == x.tolist()
        assert [part.tolist() for part in comm.scatter(x, (0, 1), dim=-1, chunk_sizes=[1, 2])] == [
            x[:, :1].tolist(),
            x[:, 1:].tolist(),
        ]
        assert comm.gather(there, destination="cpu").device.type == "cpu" and comm.gather(there).device.index == 0
        assert [t.device.index for t in comm.broadcast(x.cuda(), (0, 1))] == [0, 1]
        assert comm.broadcast(x[:2], out=there)[0].tolist() == x[:2].tolist()
        wrong = [torch.empty(2, 2, device="cuda")] * 2
        for refused, words in (
            (lambda: comm.scatter(x, ()), "Expected at least one device to scatter to"),
            (lambda: comm.scatter(x, (0, 1), chunk_sizes=[4]), "Expected devices and chunk_sizes to be of same length"),
            (lambda: comm.gather(()), "Expected at least one tensor to gather from"),
            (lambda: comm.gather([x, x]), "Expected all input tensors to be CUDA tensors"),
            (lambda: comm.scatter(x, out=wrong), "Expected same shape except for scatter dim 0"),
            (lambda: comm.scatter(x, out=there[:1]), "Total size for output tensors along scatter dim 0"),
            (lambda: comm.broadcast(x, out=there), "same shape as the source tensor"),
            (lambda: comm.broadcast(x, out=[x]), "Expected all output tensors to be CUDA tensors"),
            (lambda: comm.gather(there, out=torch.empty(3, 3, device="cuda")), "Expected out tensor to have shape"),
        ):
            with pytest.raises(RuntimeError, match=words):
                refused()
        with torch.cuda.device(1):
            assert torch.cuda.memory_allocated(torch.cuda.device(1)) == torch.cuda.memory_allocated()
        first, second = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        second.record(torch.cuda.Stream(1))
        with pytest.raises(RuntimeError, match="invalid resource handle"):
            first.elapsed_time(second)
        del parts
        there.clear()
        wrong.clear()
    assert torch.simgpu.device_count() == before
