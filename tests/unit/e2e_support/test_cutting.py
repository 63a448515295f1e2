from __future__ import annotations

import pytest

from tests.e2e.cutting import is_write


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/apis/batch/v1/namespaces/default/jobs", True),
        ("PATCH", "/api/v1/namespaces/default/services/web?fieldManager=towline", True),
        ("PUT", "/api/v1/namespaces/default/services/web", True),
        ("DELETE", "/api/v1/namespaces/default/services/web", True),
        ("GET", "/api/v1/namespaces/default/services/web", False),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("POST", "/apis/batch/v1/namespaces/default/jobs?dryRun=All", False),
    ],
)
def test_writes_are_what_changes_something(method, target, expected):
    assert is_write(method, target) is expected
