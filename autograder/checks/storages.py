"""How much memory does a result keep alive, and how much of it does it show?"""

from __future__ import annotations

from autograder.checks.nested import tensors_in
from autograder.checks.verdict import failed, passed
from autograder.units import human


def storage(x, *, ratio: float = 1.0, exercise: str | None = None, points: float = 1) -> float:
    """Check that the tensors in ``x`` keep at most ``ratio`` times the bytes alive that they show.

    Shown are ``tensor.nbytes`` of all tensors together; kept alive are the ``untyped_storage().nbytes()`` of their
    storages, each counted once. A view shows less than its base and keeps all of it (PyTorch docs, "Tensor Views").
    Rounding of blocks is not counted; tensors on the host count like those on the device.

    Raises
    ------
    CheckFailed
        "keeps more than it shows", with the worst tensor.
    """
    tensors = list(tensors_in(x))
    storages = {_address(tensor): tensor.untyped_storage().nbytes() for _, tensor in tensors}
    shown, kept = sum(tensor.nbytes for _, tensor in tensors), sum(storages.values())
    if kept > ratio * shown:
        path, worst = max(tensors, key=lambda found: found[1].untyped_storage().nbytes() - found[1].nbytes)
        raise failed(
            "keeps more than it shows",
            f"allowed {ratio:g} times the {human(shown)} that the tensors show",
            f"their storages hold {human(kept)}; the tensor{' at ' + path if path else ''} shows "
            f"{human(worst.nbytes)} of {human(worst.untyped_storage().nbytes())}",
            exercise,
            advice="Store a copy of the part, made before the whole is let go",
        )
    return passed(f"{human(kept)} are kept for {human(shown)} shown", points)


def _address(tensor) -> tuple:
    return tensor.device, tensor.untyped_storage().data_ptr()
