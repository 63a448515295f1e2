"""The label that tells a pod of ours from the others of a workload."""

from __future__ import annotations

import re
from dataclasses import dataclass

from towline.cluster.job import label_part
from towline.errors import UsageError

DEFAULT_KEY = "version"

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_WORD = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"([a-z0-9.-]{{1,253}}/)?{_WORD}")
_VALUE = re.compile(_WORD)


@dataclass(frozen=True, slots=True)
class VersionMark:
    """The label by which a mesh's rules tell the pod from the workload's others."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value}"

    @classmethod
    def parse(cls, text: str, owner: str) -> VersionMark:
        """Read `KEY:VALUE`, `VALUE`, or nothing, which is the owner's name. Raises UsageError."""
        key, colon, value = text.rpartition(":")
        mark = cls(key if colon else DEFAULT_KEY, value or label_part(owner.partition("@")[0]))
        if _KEY.fullmatch(mark.key) and _VALUE.fullmatch(mark.value):
            return mark
        raise UsageError(
            f"'{text}' cannot be a label of a pod.",
            "Write --version-mark KEY:VALUE, as in version:jane: up to 63 letters, digits, '-', "
            "'_' and '.', the first and the last a letter or a digit.",
        )
