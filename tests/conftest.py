"""For all tests: each worker of pytest-xdist has a lab of its own, and Hypothesis judges what comes
out, not how long a busy machine takes for it.
"""

import os

from hypothesis import HealthCheck, settings

from lab.layout import default_name

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# The first worker has the checkout's own lab. Before anything asks for the name.
if (worker := os.environ.get("PYTEST_XDIST_WORKER", "gw0")) != "gw0":
    os.environ["TOWLINE_LAB"] = f"{default_name()}-{worker}"
