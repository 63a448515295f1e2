"""Options of `tow connect` about names: which are the cluster's, and how long answers are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from towline.cli.options import Decorator, together
from towline.cli.schema import Checked
from towline.features.uplink.nameoptions import NameOptions, suffix, suffixes

name_options: Decorator = together(
    click.option(
        "--domain",
        cls=Checked,
        check=suffixes,
        multiple=True,
        metavar="SUFFIX,…",
        help="Ask the cluster alone for names that end so, and lead their addresses there.",
    ),
    click.option(
        "--exclude-domain",
        cls=Checked,
        check=suffixes,
        multiple=True,
        metavar="SUFFIX,…",
        help="Never ask the cluster for names that end so. The longest suffix decides.",
    ),
    click.option(
        "--cluster-domain",
        cls=Checked,
        check=suffix,
        metavar="DOMAIN",
        help="The cluster's own domain. Default: what its pods are told.",
    ),
    click.option(
        "--dns-cache",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="SECONDS",
        help="Keep answers of the cluster at most so long, and never longer than they hold.",
    ),
)


def names_of(chosen: Mapping[str, Any]) -> NameOptions:
    """What the options say of names. Raises UsageError."""
    domain = chosen["cluster_domain"]
    return NameOptions(
        domains=suffixes(chosen["domain"]),
        excluded=suffixes(chosen["exclude_domain"]),
        cluster_domain=None if domain is None else suffix(domain),
        cache_seconds=chosen["dns_cache"],
    )
