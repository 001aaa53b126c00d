"""Do whole models train on the simulated GPU exactly as on the CPU?"""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from tests.simgpu.programs import (
    GPT,
    LanguageModel,
    ResidualNet,
    image_batch,
    token_batch,
    train_on_both,
)

PROGRAMS = {
    "gpt-adamw": (GPT, token_batch, partial(AdamW, lr=1e-3)),
    "gpt-adam-foreach": (GPT, token_batch, partial(Adam, lr=1e-3, foreach=True)),
    "gpt-adam-fused": (GPT, token_batch, partial(Adam, lr=1e-3, fused=True)),
    "gpt-adamw-loop": (GPT, token_batch, partial(AdamW, lr=1e-3, foreach=False)),
    "lstm-sgd": (LanguageModel, token_batch, partial(SGD, lr=0.1)),
    "residual-momentum": (ResidualNet, image_batch, partial(SGD, lr=0.1, momentum=0.9)),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_losses_equal_those_of_the_cpu(program, device):
    """GIVEN one model on both devices WHEN trained on the same batches THEN the losses agree."""
    expected, actual = train_on_both(*PROGRAMS[program])
    assert actual == pytest.approx(expected, abs=1e-4)
    assert expected[0] != expected[-1]


OPTIMIZERS = ["SGD", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "ASGD", "LBFGS"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_down(name, device):
    """Does each of torch.optim's optimizers work?"""
    model = nn.Linear(4, 4).to(device)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01)

    def loss():
        optimizer.zero_grad()
        value = model(torch.ones(2, 4, device=device)).pow(2).sum()
        value.backward()
        return value

    first = loss().item()
    for _ in range(3):
        optimizer.step(loss)
    assert loss().item() < first


def test_optimizer_made_before_the_move_keeps_training(device):
    """GIVEN an optimizer made from CPU parameters WHEN the model moves THEN it trains the moved ones, as on CUDA."""
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(2))
    model(torch.ones(1, 4))
    optimizer = SGD(model.parameters(), lr=0.1)
    before = list(model.parameters())
    model.to(device)
    assert all(old is new for old, new in zip(before, model.parameters()))
    weight = model[0].weight.detach().clone()
    model(torch.ones(1, 4, device=device)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, weight)
    model.cpu()
    assert all(old is new and new.is_cpu for old, new in zip(before, model.parameters()))


def test_tied_weights_stay_tied(device):
    """Does .to() keep one tensor for two names, and does deepcopy?"""
    model = GPT().to(device)
    assert model.head.weight is model.tokens.weight
    twin = copy.deepcopy(model)
    assert twin.head.weight is twin.tokens.weight is not model.head.weight


def test_channels_last_survives_a_model(device):
    """Is the memory format kept?"""
    model = ResidualNet().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 16, 16, device=device).contiguous(memory_format=torch.channels_last)
    hidden = model.down(images.repeat(1, 3, 1, 1)[:, :8])
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert hidden.shape == (2, 16, 7, 7)
    model(images).sum().backward()


def test_transformer_encoder_in_eval_mode(device):
    """Does the encoder work under no_grad and inference_mode, also with padding?"""
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    inputs, padding = torch.randn(2, 5, 32), torch.zeros(2, 5, dtype=torch.bool)
    expected = encoder(inputs, src_key_padding_mask=padding).detach()
    encoder.to(device)
    with torch.no_grad():
        plain = encoder(inputs.to(device))
    with torch.inference_mode():
        padded = encoder(inputs.to(device), src_key_padding_mask=padding.to(device))
    for actual in (plain, padded):
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-4, atol=1e-5)


def test_data_parallel_on_one_device(device):
    """Does nn.DataParallel run where there is one device?"""
    model = nn.DataParallel(nn.Linear(4, 4).to(device))
    output = model(torch.randn(2, 4, device=device))
    output.sum().backward()
    assert model.device_ids == [0] and output.device == device


def test_parametrizations_and_averages(device):
    """Do weight norm, spectral norm, flattened parameters and moving averages work?"""
    weight_norm = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)).to(device)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)).to(device)
    ones = torch.ones(1, 3, device=device)
    (weight_norm(ones).sum() + spectral(ones).sum()).backward()
    flat = nn.utils.parameters_to_vector(weight_norm.parameters())
    nn.utils.vector_to_parameters(flat, weight_norm.parameters())
    average = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 3).to(device))
    average.update_parameters(nn.Linear(3, 3).to(device))
    assert average.module.weight.device == device


def test_default_device_and_meta(device):
    """Do ``with torch.device("simgpu")`` and to_empty() make device tensors?"""
    with torch.device("simgpu"):
        model, numbers = nn.Linear(2, 2), torch.tensor([1, 2])
    assert model.weight.device == numbers.device == device
    torch.set_default_device("simgpu")
    try:
        assert (torch.ones(2) @ torch.randn(2, 2) + 1).device == device
        assert torch.ones(2, device="cpu").is_cpu
    finally:
        torch.set_default_device(None)
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    assert model.to_empty(device="simgpu").weight.device == device


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_without_a_code_generator(backend, device):
    """Do the compile backends that generate no device code run?"""
    torch._dynamo.reset()
    output = torch.compile(nn.Linear(4, 4).to(device), backend=backend)(torch.randn(2, 4, device=device))
    output.sum().backward()
    assert output.device == device
    torch._dynamo.reset()


def test_tracing_and_scripting(device):
    """Do fx, jit.trace and export accept device tensors?"""
    model, inputs = nn.Linear(4, 4).to(device), torch.randn(2, 4, device=device)
    expected = model(inputs)
    for traced in (torch.fx.symbolic_trace(model), torch.export.export(model, (inputs,)).module()):
        torch.testing.assert_close(traced(inputs), expected)
