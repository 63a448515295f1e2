"""docs/rights.md names exactly the rights that `tow check` looks for."""

from pathlib import Path

import yaml

from towline.features.rights import agent_rights, link_rights
from towline.kube.access import Right

DOCUMENT = (Path(__file__).parents[3] / "docs" / "rights.md").read_text()


def test_documented_role_is_what_is_checked() -> None:
    role = yaml.safe_load(DOCUMENT.partition("```yaml\n")[2].partition("```")[0])
    documented = set()
    for rule in role["rules"]:
        (group,), (resource,) = rule["apiGroups"], rule["resources"]
        name, _, part = resource.partition("/")
        documented |= {Right(verb, group, name, part, namespace="dev") for verb in rule["verbs"]}
    assert documented == {*agent_rights("dev"), *link_rights("dev", "portforward")}
