"""Can a library tell a function of torch that was replaced from torch's own?"""

import inspect
import pickle
import subprocess
import sys

import pytest
import torch

from autograder.simgpu import host
from autograder.simgpu.cuda_shim import cuda_means_simgpu
from autograder.simgpu.standin import StandIn, original_of

TABLE = {getattr(torch, name): name for name in host.FACTORIES}


class Box:
    """Answers torch functions by a table, as tensordict does."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return TABLE[function], function is getattr(torch, TABLE[function])


def test_factories_are_found_in_tables_and_are_what_torch_passes_on(device):
    for name in host.FACTORIES:
        if name.endswith("_like"):
            assert getattr(torch, name)(Box()) == (name, True)
    assert all(isinstance(getattr(torch, name), StandIn) for name in host.FACTORIES)


def test_a_table_made_before_the_device_was_registered_is_hit_afterwards():
    program = """if True:
        import torch
        TABLE = {torch.zeros_like: "before", torch.full_like: "before"}
        from autograder import simgpu
        simgpu.enable()
        class Box:
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return TABLE[function]
        print(torch.zeros_like(Box()), torch.full_like(Box(), 1))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "before before\n", done.stderr


def test_equality_hash_pickle_and_name_are_the_originals(device):
    for name in host.FACTORIES:
        replaced, own = getattr(torch, name), original_of(getattr(torch, name))
        assert replaced == own and own == replaced and hash(replaced) == hash(own) and replaced is not own
        assert pickle.loads(pickle.dumps(replaced)) == replaced and replaced.__name__ == name
        assert repr(replaced) == repr(own) and inspect.unwrap(replaced) is own
        with pytest.raises(ValueError, match="no signature"):
            inspect.signature(replaced)
    assert torch.zeros != torch.ones and torch.zeros != 3
    assert pickle.loads(pickle.dumps(torch.compile)) is torch.compile


def test_methods_arrive_under_their_own_name(device):
    """Under `autograder run`: is what a subclass is handed the method that stands in torch.Tensor?"""
    seen = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            seen.append(function)
            return super().__torch_function__(function, types, args, kwargs or {})

    with cuda_means_simgpu():
        tensor = torch.ones(2, device="cpu").as_subclass(Watched)
        for name, call in {"cuda": Watched.cuda, "to": lambda t: t.to("cuda"), "type": Watched.type}.items():
            seen.clear()
            call(tensor)
            assert getattr(torch.Tensor, name) in seen and seen[0].__name__ == name


def test_torchscript_compiles_them_and_what_uses_them(device):
    def start(x: torch.Tensor):
        return torch.tensor(0.0), torch.zeros_like(x, memory_format=torch.preserve_format), torch.rand([2])

    with cuda_means_simgpu():
        zero, like, drawn = torch.jit.script(start)(torch.ones(3))
        from torch.distributed.optim import ZeroRedundancyOptimizer  # TorchScript of its own runs on import
    assert zero.item() == 0 and like.tolist() == [0, 0, 0] and drawn.shape == (2,)
    assert ZeroRedundancyOptimizer.__name__ == "ZeroRedundancyOptimizer"


def test_torch_compile_in_a_notebook_runs_eagerly_and_says_it_once(capsys):
    program = """if True:
        import torch
        from autograder import simgpu
        device = simgpu.enable()
        @torch.compile
        def loss_of(model, x, y):
            return torch.nn.functional.cross_entropy(model(x), y)
        model = torch.compile(torch.nn.Linear(4, 3).to(device))
        with torch.no_grad():
            print(loss_of(model, torch.randn(5, 4, device=device), torch.tensor([0, 1, 2, 0, 1], device=device)).shape)
        print(type(model).__name__)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    sentence, *rest = done.stdout.splitlines()
    assert "there is no compiler for the simulated GPU, so this runs eagerly" in sentence
    assert rest == ["torch.Size([])", "OptimizedModule"] and done.stderr == ""
