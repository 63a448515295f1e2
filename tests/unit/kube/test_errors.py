from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kube import errors
from towline.kube.errors import ApiError, from_response
from towline.kube.resources import JOBS, NAMESPACES, PODS, SERVICES


def refused(
    code: int, message: str = "", *, method: str = "GET", path: str = "", **fields: Any
) -> ApiError:
    body = {"kind": "Status", "status": "Failure", "code": code, "message": message, **fields}
    return from_response(method, path or PODS.path("dev"), code, json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", errors.Invalid),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (413, "RequestEntityTooLarge", errors.Invalid),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.ServerError),
        (504, "Timeout", errors.ServerError),
    ],
)
def test_each_refusal_has_its_class(code: int, reason: str, kind: type[ApiError]) -> None:
    error = refused(code, "why", reason=reason)

    assert type(error) is kind
    assert error.exit_code == (5 if kind is errors.Forbidden else 4)
    assert error.summary
    assert error.hint
    assert error.status is not None
    assert error.status.reason == reason
    assert error.action is not None
    assert error.action.resource == "pods"


def test_forbidden_names_verb_resource_and_namespace() -> None:
    error = refused(
        403,
        'jobs.batch is forbidden: User "bob" cannot create resource "jobs" in API group "batch" '
        'in the namespace "dev"',
        method="POST",
        path=JOBS.path("dev"),
    )

    assert error.summary == "The user bob may not create jobs in the namespace dev"
    assert error.hint.endswith("kubectl auth can-i create jobs.batch -n dev")


def test_forbidden_of_a_subresource_names_it() -> None:
    error = refused(403, path=PODS.path("dev", "a", "portforward"))

    assert error.summary == "You may not get pods/portforward in the namespace dev"
    assert error.hint.endswith("kubectl auth can-i get pods --subresource=portforward -n dev")


def test_forbidden_to_a_stranger_is_about_credentials() -> None:
    error = refused(403, 'pods is forbidden: User "system:anonymous" cannot list resource "pods"')

    assert "does not know who you are" in error.summary
    assert "Sign in" in error.hint


def test_a_full_quota_says_which_and_how_full() -> None:
    error = refused(
        403,
        'pods "a" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, '
        "limited: pods=2",
        method="POST",
    )

    assert type(error) is errors.QuotaExceeded
    assert error.exit_code == 5
    assert error.summary == (
        "The quota small of the namespace dev leaves no room to create pods: requested: pods=1, "
        "used: pods=2, limited: pods=2"
    )
    assert "kubectl describe quota -n dev" in error.hint


def test_a_violated_pod_security_standard_says_what_it_wants() -> None:
    error = refused(
        403,
        'pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        method="POST",
    )

    assert "Pod Security Standard of the namespace dev" in error.summary
    assert error.summary.endswith('PodSecurity "restricted:latest": runAsNonRoot != true')


def test_a_policy_of_a_webhook_is_quoted() -> None:
    error = refused(403, 'admission webhook "x" denied the request: no latest tag', method="POST")

    assert "A policy of the cluster" in error.summary
    assert "no latest tag" in error.summary


def test_a_namespace_that_ends_is_told_as_such() -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "x", "field": "y"}]
    error = refused(403, "forbidden", method="POST", details={"causes": causes})

    assert error.summary == ("The namespace dev is being deleted, so nothing can be made in it")


def test_not_found_names_object_and_namespace() -> None:
    error = refused(
        404, path=SERVICES.path("dev", "web"), details={"kind": "services", "name": "web"}
    )

    assert error.summary == "There is no web among the services in the namespace dev"
    assert error.hint.endswith("kubectl get services -n dev")


def test_not_found_of_a_namespace_is_about_the_namespace() -> None:
    error = refused(
        404, path=NAMESPACES.path(name="dev"), details={"kind": "namespaces", "name": "dev"}
    )

    assert error.summary == "There is no namespace dev"


def test_invalid_lists_the_causes() -> None:
    causes = [{"field": "spec.a", "message": "Required value"}, {"message": "and more"}]
    error = refused(422, "long", details={"causes": causes})

    assert error.summary == (
        "The server refused to list pods in the namespace dev: spec.a: Required value; and more"
    )


def test_a_sign_in_page_is_told_as_such() -> None:
    error = from_response("GET", PODS.path(), 302, b"<html>", {"Location": "https://login"})

    assert type(error) is errors.ServerError
    assert "redirects elsewhere" in error.summary


def test_exceptions_form_one_tree() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    own = [kind for kind in kinds if kind.__module__ == errors.__name__]

    assert len(own) == 12
    assert all(issubclass(kind, ApiError) for kind in own)


@given(
    code=st.integers(300, 599),
    message=st.text(),
    kind=st.text(),
    name=st.text(),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.sampled_from([PODS.path("dev"), PODS.path(), NAMESPACES.path(name="x"), "/version"]),
)
def test_every_answer_has_words(
    code: int, message: str, kind: str, name: str, method: str, path: str
) -> None:
    error = refused(code, message, method=method, path=path, details={"kind": kind, "name": name})

    assert error.summary
    assert error.hint
    assert str(error) == error.summary
