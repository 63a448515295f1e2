"""Tries what the redirect needs of the kernel, in an empty network namespace of its own.

Run as `python -I -m towline.redirect.trial`; writes a JSON list of results and changes nothing:
all that it makes is in the namespace, which ends with it. Works without root where the kernel
lets users make namespaces. The standard library only.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import sys
from pathlib import Path

from towline.redirect import device, ruleset
from towline.redirect.elements import Elements
from towline.redirect.nft import Nftables, NftError

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_Result = dict[str, object]

_TUN_HINT = "Load the kernel's module: `sudo modprobe tun`."
_NFTABLES_HINT = "Install nftables (its library libnftables.so.1)."
_KERNEL_HINT = "Linux 5.12 or newer is needed, with nftables: `sudo modprobe nf_tables`."
_MODULE_HINT = "The kernel needs the module {0}: `sudo modprobe {0}`."
_RULES = (
    ("redirect", "type nat hook output priority -100", "tcp dport 1 redirect to :2", "nft_redir"),
    ("notrack", "type filter hook output priority raw", "tcp dport 1 notrack", "nft_ct"),
    (
        "reject",
        "type filter hook forward priority filter",
        "reject with icmpx type admin-prohibited",
        "nft_reject_inet",
    ),
)


def main() -> None:
    """Write the results to standard output."""
    is_root = os.geteuid() == 0
    if not _leave(is_root):
        hint = "Run `tow check` as root (`sudo tow check`) to try these."
        results = [
            _result(name, None, "cannot be tried without root here", hint)
            for name in ("tun", "nftables")
        ]
    else:
        results = [_try_tun(is_root), *_try_nftables()]
    json.dump(results, sys.stdout)


def _leave(is_root: bool) -> bool:
    """Enter an empty network namespace; whether that was allowed."""
    flags = _CLONE_NEWNET if is_root else _CLONE_NEWNET | _CLONE_NEWUSER
    return bool(ctypes.CDLL(None).unshare(flags) == 0)


def _try_tun(is_root: bool) -> _Result:
    try:
        os.close(device.create().descriptor)
    except PermissionError as error:
        if is_root or not Path(device.CLONE_DEVICE).exists():
            return _result("tun", False, f"{device.CLONE_DEVICE}: {error.strerror}", _TUN_HINT)
        return _result("tun", True, f"{device.CLONE_DEVICE} is there")
    except OSError as error:
        return _result("tun", False, f"{device.CLONE_DEVICE}: {error.strerror}", _TUN_HINT)
    return _result("tun", True, "a TUN device can be made")


def _try_nftables() -> list[_Result]:
    try:
        nft = Nftables()
    except NftError as error:
        return [_result("nftables", False, str(error), _NFTABLES_HINT)]
    try:
        nft.run("create table inet trial { flags owner; }")
    except NftError as error:
        return [_result("nftables", False, _first_line(error), _KERNEL_HINT)]
    results = [_result("nftables", True, "tables that end with their owner can be made")]
    for name, chain, rule, module in _RULES:
        try:
            nft.run(f"add chain inet trial {name}_ {{ {chain}; }}")
            nft.run(f"add rule inet trial {name}_ {rule}")
        except NftError as error:
            hint = _MODULE_HINT.format(module)
            results.append(_result(f"nft {name}", False, _first_line(error), hint))
    if all(result["ok"] for result in results):
        results.append(_try_whole(nft))
    return results


def _try_whole(nft: Nftables) -> _Result:
    nameservers = [ipaddress.ip_address("127.0.0.53"), ipaddress.ip_address("::1")]
    try:
        nft.run(ruleset.create_table(0))
        nft.run(ruleset.redirect_tcp(0, 1))
        nft.run(ruleset.capture_dns(0, nameservers, 1))
        Elements(nft.socket).add(ruleset.device(0), "open6", nameservers[1], 1)
    except (NftError, OSError) as error:
        return _result("nft rules", False, _first_line(error), _KERNEL_HINT)
    return _result("nft rules", True, "the kernel takes the redirect's rules")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _result(name: str, ok: bool | None, what: str, hint: str = "") -> _Result:
    return {"name": name, "ok": ok, "what": what, "hint": hint}


if __name__ == "__main__":
    main()
