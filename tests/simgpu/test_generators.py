"""Does torch.Generator(device="simgpu") work wherever a CUDA generator does?"""

import copy
import io
import pickle

import pytest
import torch

from autograder.errors import NotSimulated


def generator(seed=7):
    return torch.Generator(device="simgpu").manual_seed(seed)


DRAWS = {
    "rand": lambda g, d: torch.rand(5, generator=g, device=d),
    "randn": lambda g, d: torch.randn(5, generator=g, device=d),
    "randint": lambda g, d: torch.randint(100, (5,), generator=g, device=d),
    "randperm": lambda g, d: torch.randperm(9, generator=g, device=d),
    "normal": lambda g, d: torch.normal(torch.zeros(5, device=d), 1.0, generator=g),
    "bernoulli": lambda g, d: torch.bernoulli(torch.full((20,), 0.5, device=d), generator=g),
    "multinomial": lambda g, d: torch.multinomial(torch.ones(20, device=d), 5, generator=g),
    "uniform_": lambda g, d: torch.empty(5, device=d).uniform_(generator=g),
    "exponential_": lambda g, d: torch.empty(5, device=d).exponential_(generator=g),
    "xavier": lambda g, d: torch.nn.init.xavier_uniform_(torch.empty(3, 3, device=d), generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_a_cpu_generator_with_the_same_seed(name, device):
    """GIVEN one seed THEN a device generator repeats itself, and draws what a CPU generator draws."""
    draw = DRAWS[name]
    first, again, other = draw(generator(), device), draw(generator(), device), draw(generator(8), device)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.device == device
    torch.testing.assert_close(first.cpu(), draw(torch.Generator().manual_seed(7), "cpu"))


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_of_the_host_is_refused(name, device):
    """GIVEN a CPU generator for a device operator THEN PyTorch's words for CUDA."""
    with pytest.raises(RuntimeError, match="Expected a 'simgpu' device type for generator but found 'cpu'"):
        DRAWS[name](torch.Generator(), device)


def test_a_generator_says_where_it_lives(device):
    """Are device, seed and kind as they should be, for both kinds of generators?"""
    ours, theirs = generator(), torch.Generator()
    assert ours.device == device and torch.Generator(device).device == device
    assert theirs.device == torch.Generator("cpu").device == torch.device("cpu")
    assert all(isinstance(g, torch.Generator) for g in (ours, theirs, torch.default_generator))
    assert not isinstance(7, torch.Generator) and issubclass(type(theirs), torch.Generator)
    assert ours.initial_seed() == 7 and torch.Generator(device).initial_seed() == theirs.initial_seed()
    assert ours.seed() == ours.initial_seed() != 7
    assert torch.simgpu.default_generators[0].device == device
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.Generator("simgpu:63")


def test_state_can_be_kept_copied_and_pickled(device):
    """Do get_state, set_state, clone_state, deepcopy and pickle all continue with the same numbers?"""
    ours = generator()
    torch.rand(3, generator=ours, device=device)
    state = ours.get_state()
    saved = io.BytesIO()
    torch.save({"generator": state}, saved)
    saved.seek(0)
    others = [ours.clone_state(), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))]
    others.append(torch.Generator(device).set_state(torch.load(saved)["generator"]))
    expected = torch.rand(3, generator=ours, device=device)
    for other in others:
        assert other.device == device and other is not ours
        assert torch.equal(torch.rand(3, generator=other, device=device), expected)
    assert torch.equal(torch.rand(3, generator=ours.set_state(state), device=device), expected)


def test_a_generator_of_ones_own_leaves_the_default_one_alone(device):
    """GIVEN a seeded device WHEN another generator draws THEN the default one goes on as if nothing happened."""
    torch.simgpu.manual_seed(3)
    assert torch.simgpu.initial_seed() == 3
    expected = torch.rand(3, device=device)
    torch.simgpu.manual_seed(3)
    torch.rand(100, generator=generator(), device=device)
    assert torch.equal(torch.rand(3, device=device), expected)
    torch.simgpu.default_generators[0].manual_seed(3)
    assert torch.equal(torch.rand(3, device=device), expected)
    dropout = torch.nn.Dropout(0.5)
    torch.simgpu.manual_seed_all(3)
    once = dropout(torch.ones(50, device=device))
    torch.simgpu.set_rng_state_all([generator(3).get_state()])
    assert torch.equal(dropout(torch.ones(50, device=device)), once)


@pytest.mark.parametrize("ask", [lambda g: g.get_offset(), lambda g: g.set_offset(4)])
def test_the_offset_is_refused_with_the_reason(ask, device):
    """CUDA's generators have an offset, the CPU's has none: is that said, with what to do instead?"""
    with pytest.raises(NotSimulated, match=r"offset .* is not simulated: .* get_state\(\)"):
        ask(generator())
