"""The change that an interception makes to a service or a workload, and what takes it back.

Changes are merge patches (RFC 7386) with the resourceVersion of the object that they were made
from, so that the API refuses them with a conflict when somebody else was faster:
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

#: On a service that was changed: who did it, and what was there before.
ANNOTATION = "towline/interception"
#: The same on a workload. A Deployment's annotations are copied to its ReplicaSets, and stay there.
LABELS = {
    "job": "towline/interception",
    "owner": "towline/owner",
    "since": "towline/since",
    "replicas": "towline/replicas",
}
#: As whom the session and the agent change objects, by their User-Agent.
MANAGERS = ("towline", "towline-agent")
#: On an agent's pods, and in the selector of a service that leads to them: the agent's Job.
AGENT_LABEL = "towline/agent"
LABEL_LENGTH = 63
# What a Job may be called: a record may have been written by anybody.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """Whose interception it is, and the `selector` or the `replicas` that were there before it.

    `since` is a time as ISO 8601 has it, `owner` is user@host. `mesh` is there if several share it:
    who, and by which rules.
    """

    job: str
    owner: str
    since: str
    selector: dict[str, str] | None = None
    replicas: int | None = None
    mesh: dict[str, Any] | None = None

    def to_json(self) -> str:
        """The value of the annotation."""
        return json.dumps({key: it for key, it in asdict(self).items() if it is not None})

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read the value of an annotation. Raises ValueError when it is malformed."""
        try:
            values = json.loads(text)
        except RecursionError:
            values = None
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: object) -> Record:
        """Read what JSON gave; unknown properties are ignored. Raises ValueError."""
        if not isinstance(values, dict):
            raise ValueError("a record is a JSON object")
        job, owner, since = (values.get(key) for key in ("job", "owner", "since"))
        selector, replicas = values.get("selector"), values.get("replicas")
        if not (_is_text(job, owner, since) and _NAME.fullmatch(cast(str, job))):
            raise ValueError("a record has job, owner and since")
        if (selector is None) == (replicas is None):
            raise ValueError("a record has either selector or replicas")
        if selector is not None and not (
            isinstance(selector, dict) and _is_text(*selector.values())
        ):
            raise ValueError("a selector has labels")
        if replicas is not None and not (type(replicas) is int and replicas >= 0):
            raise ValueError("replicas are a number")
        mesh = values.get("mesh")
        if not (mesh is None or isinstance(mesh, dict)):
            raise ValueError("a mesh is an object")
        return cls(cast(str, job), cast(str, owner), cast(str, since), selector, replicas, mesh)


def of(value: Json) -> Record | None:
    """The record that an object carries; None when there is none, or it is malformed."""
    annotation = (value["metadata"].get("annotations") or {}).get(ANNOTATION)
    try:
        if annotation is not None:
            return Record.from_json(annotation)
        return _from_labels(value["metadata"].get("labels") or {})
    except ValueError:
        return None


def is_marked(value: Json) -> bool:
    """Whether an object carries a record, be it malformed."""
    metadata = value["metadata"]
    annotated = ANNOTATION in (metadata.get("annotations") or {})
    return annotated or LABELS["job"] in (metadata.get("labels") or {})


def apply(value: Json, record: Record) -> dict[str, Any]:
    """The merge patch that makes an object this record's."""
    if record.selector is None:
        spec: dict[str, Any] = {"replicas": 0}
    else:
        spec = {"selector": {**dict.fromkeys(_selector(value)), AGENT_LABEL: record.job}}
    metadata = _to_labels(record) if record.selector is None else _annotation(record.to_json())
    return {**_patch(value, metadata), "spec": spec}


def undo(value: Json, record: Record) -> dict[str, Any] | None:
    """The merge patch that takes back what of an object is still this record's; None for nothing.

    What others have changed meanwhile stays as it is now.
    """
    found = of(value)
    if found is not None and found.job != record.job:
        return None  # somebody has taken over
    if record.selector is None:
        spec = _replicas_back(value, record) if found else None
    else:
        spec = _selector_back(value, record)
    if found is None and spec is None:
        return None
    metadata = _no_labels() if record.selector is None else _annotation(None)
    return {**_patch(value, metadata), **({"spec": spec} if spec else {})}


def disown(value: Json) -> dict[str, Any] | None:
    """The merge patch after which we manage no fields of an object; None when we do not, or a
    session still has it.

    A server-side apply by somebody else would else meet a conflict with us, long after we are
    gone: https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
    """
    if is_marked(value):
        return None
    entries = value["metadata"].get("managedFields") or []
    others = [entry for entry in entries if entry.get("manager") not in MANAGERS]
    if len(others) == len(entries):
        return None
    version = value["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version, "managedFields": others}}


def _selector_back(value: Json, record: Record) -> dict[str, Any] | None:
    selector = _selector(value)
    if selector.get(AGENT_LABEL) != record.job:
        return None
    # With other labels beside ours somebody has said what it is to be: as kubectl apply does.
    back = (record.selector or {}) if len(selector) == 1 else {}
    return {"selector": {AGENT_LABEL: None, **back}}


def _replicas_back(value: Json, record: Record) -> dict[str, Any] | None:
    return {"replicas": record.replicas} if value["spec"].get("replicas") == 0 else None


def _patch(value: Json, metadata: Json) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": value["metadata"]["resourceVersion"], **metadata}}


def _annotation(text: str | None) -> dict[str, Any]:
    return {"annotations": {ANNOTATION: text}}


def _to_labels(record: Record) -> dict[str, Any]:
    """See https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set."""
    values = asdict(record)
    return {"labels": {label: _escaped(str(values[key])) for key, label in LABELS.items()}}


def _no_labels() -> dict[str, Any]:
    return {"labels": dict.fromkeys(LABELS.values())}


def _from_labels(labels: Mapping[str, str]) -> Record:
    """Raises ValueError."""
    values: dict[str, Any] = {key: _read(labels.get(label, "")) for key, label in LABELS.items()}
    values["replicas"] = int(values["replicas"])
    return Record.from_values(values)


def _escaped(text: str) -> str:
    """What of a text may stand in a label; all of it, unless that is long or begins oddly."""
    quoted = quote(text, safe="", errors="replace").replace("_", "%5F").replace("~", "%7E")
    return quoted.replace("%", "_")[:LABEL_LENGTH].strip("-._")


def _read(label: str) -> str:
    return unquote(label.replace("_", "%"), errors="replace")


def _selector(value: Json) -> Json:
    return value["spec"].get("selector") or {}


def _is_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
