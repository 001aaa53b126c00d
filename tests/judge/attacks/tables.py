"""All attacks, by kind and name."""

from tests.judge.attacks import looking_around, lying, replacing, speaking, timing

ATTACKS = {
    f"{kind}: {label}": attack
    for kind, module in (
        ("replacing", replacing),
        ("looking", looking_around),
        ("speaking", speaking),
        ("timing", timing),
        ("lying", lying),
    )
    for label, attack in module.ATTACKS.items()
}
