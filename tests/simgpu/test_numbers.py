"""Do plain numbers beside device tensors give the types and the rounding they give beside CPU tensors?"""

import pytest
import torch

DTYPES = [torch.bool, torch.int64, torch.float32, torch.bfloat16, torch.complex64]
NUMBERS = [True, 2, 0.1, 1j]
OPERATIONS = {
    "add": lambda x, number: x + number,
    "subtract from": lambda x, number: number - x,
    "multiply": lambda x, number: x * number,
    "divide": lambda x, number: x / number,
    "in place": lambda x, number: x.clone().mul_(number),
    "power": lambda x, number: x**number,
    "base": lambda x, number: number**x,
    "less": lambda x, number: x < number,
    "equal": lambda x, number: x == number,
    "where": lambda x, number: torch.where(torch.ones_like(x, dtype=torch.bool), x, number),
    "maximum": lambda x, number: x.clamp(min=number),
    "foreach": lambda x, number: torch._foreach_mul([x], number)[0],
    "lerp": lambda x, number: torch.lerp(x, x + x, number),
    "masked_fill": lambda x, number: x.masked_fill(torch.ones_like(x, dtype=torch.bool), number),
    "assignment": lambda x, number: x.clone().index_fill_(0, torch.tensor([1], device=x.device), number),
    "remainder": lambda x, number: x % number,
}


def outcome(operation, x, number):
    """The result, or the kind of error."""
    try:
        return operation(x, number).cpu()
    except (RuntimeError, TypeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_numbers(name, dtype, device):
    """GIVEN each kind of number THEN the result, or the refusal, is the CPU's."""
    x = torch.tensor([1, 3, 5]).to(dtype)
    for number in NUMBERS:
        expected = outcome(OPERATIONS[name], x, number)
        actual = outcome(OPERATIONS[name], x.to(device), number)
        if isinstance(expected, torch.Tensor):
            assert isinstance(actual, torch.Tensor), f"{number}: {actual}"
            assert actual.dtype == expected.dtype, number
            torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
        else:
            assert actual == expected, number


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_a_result_that_the_cpu_gives_as_a_conjugate_view(left, adjoint, device):
    """GIVEN a kernel whose result has the conjugate bit set THEN it is read as the CPU reads it."""
    matrix, right = (torch.randn(3, 3, dtype=torch.complex64) for _ in range(2))
    factors, pivots = torch.linalg.lu_factor(matrix)
    expected = torch.linalg.lu_solve(factors, pivots, right, left=left, adjoint=adjoint)
    solved = torch.linalg.lu_solve(*(x.to(device) for x in (factors, pivots, right)), left=left, adjoint=adjoint)
    torch.testing.assert_close((solved * 1).cpu(), expected)
