"""Quantities of Kubernetes, and how much of something a container asks for and may use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from towline.errors import UsageError

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_FORM = re.compile(r"\+?(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?")
_DECIMAL = {unit: Decimal(1000) ** at for at, unit in enumerate("num kMGTPE", start=-3)}
_BINARY = {f"{unit}i": Decimal(1024) ** at for at, unit in enumerate("KMGTPE", start=1)}
_UNITS = {"": Decimal(1), **_DECIMAL, **_BINARY}

# Kubernetes would take less, and the kernel end the agent, which starts with some 20 MiB.
LEAST_MEMORY = "32Mi"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a container asks for, and how much it may use at most; as quantities."""

    request: str
    limit: str


def parse(text: str) -> Decimal | None:
    """What a quantity stands for; None when it is none."""
    found = _FORM.fullmatch(text)
    if not found:
        return None
    number, unit = Decimal(found[1]), found[2] or ""
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        return number * Decimal(10) ** int(unit[1:])
    return number * _UNITS[unit]


def cpu(text: str) -> Amount:
    """Of processors, as `REQUEST[:LIMIT]`; one value is both. Raises UsageError."""
    return _amount("--cpu", text, "0.001", "Write processors, or thousandths of one: 0.5, 500m.")


def memory(text: str) -> Amount:
    """Of memory, as `REQUEST[:LIMIT]`; one value is both. Raises UsageError."""
    hint = "Write bytes with a unit: 256Mi, 1Gi; a small m is a thousandth of a byte."
    return _amount("--memory", text, LEAST_MEMORY, hint)


def _amount(option: str, text: str, least: str, hint: str) -> Amount:
    request, colon, limit = text.partition(":")
    amount = Amount(request, limit if colon else request)
    values = [parse(each) for each in (amount.request, amount.limit)]
    for written, value in zip((amount.request, amount.limit), values, strict=True):
        if value is None:
            raise UsageError(f"{option} {text}: '{written}' is not a quantity.", hint)
        if value < (parse(least) or 0):
            raise UsageError(f"{option} {text}: {written} is less than {least}.", hint)
    if (values[0] or 0) > (values[1] or 0):
        raise UsageError(f"{option} {text}: the limit is less than what is asked for.", hint)
    return amount
