import pytest

from towline.errors import UsageError
from towline.features.reference import Reference
from towline.kube.resources import DAEMON_SETS, DEPLOYMENTS, PODS, SERVICES, STATEFUL_SETS


@pytest.mark.parametrize(
    ("text", "resource", "short"),
    [
        ("web", SERVICES, "svc/web"),
        ("svc/web", SERVICES, "svc/web"),
        ("Service/web", SERVICES, "svc/web"),
        ("deploy/web", DEPLOYMENTS, "deploy/web"),
        ("deployments/web", DEPLOYMENTS, "deploy/web"),
        ("sts/web", STATEFUL_SETS, "sts/web"),
        ("ds/web", DAEMON_SETS, "ds/web"),
        ("pod/web", PODS, "pod/web"),
    ],
)
def test_kinds_are_known_by_their_names(text: str, resource: object, short: str) -> None:
    reference = Reference.parse(text)
    assert (reference.resource, reference.name) == (resource, "web")
    assert str(reference) == short


@pytest.mark.parametrize("text", ["", "/web", "svc/", "job/web", "svc/a/b", "a/svc/b"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)


@pytest.mark.parametrize("text", ["svc/web", "deploy/web", "sts/web", "ds/web", "pod/web"])
def test_path_of_an_object_leads_back_to_it(text: str) -> None:
    reference = Reference.parse(text)
    assert Reference.at(reference.resource.path("shop", reference.name)) == reference


@pytest.mark.parametrize("path", ["", "/", "/api/v1/namespaces/shop/services", "/apis/x/v1/web"])
def test_path_of_nothing_that_can_be_intercepted(path: str) -> None:
    assert Reference.at(path) is None
