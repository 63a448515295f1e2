"""The benchmarks run; their figures are for docs/performance.md, not for a test."""

from __future__ import annotations

import json
import subprocess
import sys

from lab.layout import CHECKOUT

# Less than a test may take, so that it is this one's own failure.
SECONDS = 240
MEASURES = {"up_1", "down_1", "up_8", "down_8", "echo", "echo_p99", "connect"}


def test_quick_run_measures_every_way_and_names_each_aim(no_trace):
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--rtt", "20", "--output", "json"]
    done = subprocess.run(
        argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for way in ("kubectl", "websocket", "tow"):
        figures = results["rtt"]["20"][way]
        assert set(figures) >= MEASURES, way
        assert min(figures.values()) > 0, way
    assert results["rtt"]["20"]["tow"]["echo"] > 0.020, "the delay proxy was in the way"
    assert all(aim["value"] > 0 or "round trip -" in aim["what"] for aim in results["aims"])
    assert {"session", "agent"} <= set(results["memory"]["idle"])
