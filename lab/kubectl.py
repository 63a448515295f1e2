"""kubectl as the lab's administrator, from the laptop."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from lab.errors import LabError
from lab.layout import Layout


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl in the laptop's network namespace."""

    layout: Layout

    def run(self, *arguments: str, stdin: str = "", timeout_seconds: float = 60) -> str:
        """What kubectl printed. Raises LabError with what it complained about."""
        config = self.layout.users / "admin.yaml"
        argv = [
            *("nsenter", f"--net={self.layout.laptop_net}", "--"),
            *(str(self.layout.programs / "kubectl"), f"--kubeconfig={config}", *arguments),
        ]
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(
                f"'kubectl {' '.join(arguments)}' took longer than {timeout_seconds:.0f} s."
            ) from None
        if done.returncode != 0:
            raise LabError(f"'kubectl {' '.join(arguments)}' failed: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` says."""
        return json.loads(self.run("get", *arguments, "-o", "json"))
