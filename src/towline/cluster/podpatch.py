"""A user's own patch of the agent's pod, for whatever has no option.

A JSON merge patch (RFC 7386) of the template in the agent's Job; but lists whose items have keys
in Kubernetes (https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.35/, "patch merge
key") are merged item by item. What the agent needs as it is may not be in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from towline.errors import UsageError

# Lists that are merged, each by what tells its items apart.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "volumeMounts": "mountPath",
}
CONTAINERS = ("agent", "router")
# The agent's own, and those of the options that say it better.
_FIXED_OF_POD = {
    "restartPolicy": "by it the pod ends with the agent",
    "hostNetwork": "the agent would listen on its node",
    "serviceAccountName": "--service-account is for that",
    "serviceAccount": "--service-account is for that",
    "automountServiceAccountToken": "the agent may need its token",
    "ephemeralContainers": "a new pod cannot have them",
}
_FIXED_OF_CONTAINER = {
    "command": "it is the agent itself",
    "args": "it is what the agent is told",
    "ports": "services lead there",
    "lifecycle": "the agent and its router start by it",
    "readinessProbe": "services lead there when it says so",
}


def load(file: str) -> Mapping[str, Any]:
    """The patch in a file of YAML or JSON; raises UsageError for one that cannot be, by name.

    It has `metadata` (labels and annotations) and `spec`, as a Pod has them.
    """
    try:
        patch = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        json.dumps(patch)  # what is sent
    except OSError as error:
        raise UsageError(f"The patch {file} cannot be read: {error.strerror}.") from error
    except TypeError as error:
        raise UsageError(
            f"The patch {file} has a value that JSON knows not: {error}.",
            "YAML takes some texts for dates: put them in quotes.",
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        what = " ".join(str(error).split())
        raise UsageError(f"The patch {file} is neither YAML nor JSON: {what}") from error
    for path, why in _faults(patch):
        raise UsageError(
            f"The patch {file} may not have {path}: {why}.",
            "It is part of a Pod, with what is to be otherwise: metadata.labels, "
            "metadata.annotations, spec.",
        )
    return {name: patch[name] for name in ("metadata", "spec") if name in patch}


def merge(target: Any, patch: Any, key: str = "") -> Any:
    """`target` as the patch has it; `key` is where both stand."""
    if isinstance(patch, Mapping):
        merged = dict(target) if isinstance(target, Mapping) else {}
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = merge(merged.get(name), value, name)
        return merged
    if isinstance(patch, list) and key in _KEYS:
        return _merge_items(target or [], patch, key)
    return patch


def _merge_items(target: list[Any], patch: list[Any], kind: str) -> list[Any]:
    merged, key = list(target), _KEYS[kind]
    for item in patch:
        at = next((n for n, own in enumerate(merged) if own.get(key) == item.get(key)), None)
        if at is not None:
            merged[at] = merge(merged[at], item)
        elif kind != "containers":  # which is for the router of another command
            merged.append(merge({}, item))
    return merged


def _faults(patch: Any) -> Iterator[tuple[str, str]]:
    """Where the patch has what it may not, and why."""
    if not isinstance(patch, Mapping):
        yield "anything but names at its top", "there is nothing that it could change"
        return
    yield from _strangers("", patch, ("apiVersion", "kind", "metadata", "spec"))
    yield from _of_metadata(patch.get("metadata", {}))
    yield from _of_spec(patch.get("spec", {}))


def _of_metadata(metadata: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(metadata, Mapping):
        yield "metadata", "it is to have names below it"
        return
    yield from _strangers("metadata.", metadata, ("labels", "annotations"))
    for name, values in metadata.items():
        if not isinstance(values, Mapping):
            yield f"metadata.{name}", "it is to have names below it"
        elif any(not isinstance(each, str) for pair in values.items() for each in pair):
            yield f"metadata.{name}", "keys and values are to be text, in quotes if need be"


def _of_spec(spec: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(spec, Mapping):
        yield "spec", "it is to have names below it"
        return
    yield from ((f"spec.{name}", why) for name, why in _FIXED_OF_POD.items() if name in spec)
    for kind in _KEYS:
        yield from _of_list("spec", kind, spec)
    for kind in ("containers", "initContainers"):
        for item in spec.get(kind) or ():
            if isinstance(item, Mapping):
                where = f"spec.{kind}[{item.get('name')}]"
                yield from _of_list(where, "env", item)
                yield from _of_list(where, "volumeMounts", item)
    yield from _of_containers(spec.get("containers", ()))


def _of_list(where: str, kind: str, holder: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if kind not in holder:
        return
    items, key = holder[kind], _KEYS[kind]
    if not isinstance(items, list) or not all(isinstance(each, Mapping) for each in items):
        yield f"{where}.{kind}", f"it is to be a list of items with a {key} each"
    elif any(not isinstance(each.get(key), str) for each in items):
        yield f"{where}.{kind}", f"each item is to have a {key}"


def _of_containers(containers: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for container in containers if isinstance(containers, list) else ():
        where = f"spec.containers[{container['name']}]"
        if container["name"] not in CONTAINERS:
            yield where, f"the pod would not end with the agent; there are {', '.join(CONTAINERS)}"
        yield from (
            (f"{where}.{name}", why)
            for name, why in _FIXED_OF_CONTAINER.items()
            if name in container
        )


def _strangers(
    where: str, holder: Mapping[Any, Any], known: Iterable[str]
) -> Iterator[tuple[str, str]]:
    for name in holder:
        if name not in known:
            yield f"{where}{name}", f"there are {', '.join(known)}"
