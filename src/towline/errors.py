"""The root of everything that towline can tell a user went wrong.

Every layer derives its errors from :class:`TowlineError`; the command line prints the
summary and the hint and leaves with the exit code. The tree:

TowlineError                 1
├── UsageError               2   the command or a file it reads cannot be used as written
├── ConfigError              3   kubeconfig: missing, broken, or naming what is not there
├── ApiError (towline.kube)  4   the API server said no, or could not be reached; but
│   └── Forbidden            5   a right is missing there, or a policy or quota is against it
├── AccessError              5   a right is missing, in the cluster or on this machine
├── AgentError               6   the agent's pod did not start, or did not stay
│   └── HopelessError            and no further agent has reason to fare better
├── RedirectError            7   this machine's kernel or tools refused the redirect
└── SessionError             8   another session stands in the way, or none is there
"""

from __future__ import annotations


class TowlineError(Exception):
    """What happened, in one line (`summary`), and what to do about it (`hint`).

    `exit_code` is what the process ends with when this error reaches the user.
    """

    exit_code = 1

    def __init__(self, summary: str, hint: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.hint = hint


def leading_error(group: BaseExceptionGroup[BaseException]) -> TowlineError | None:
    """The first of our errors in an exception group, for telling the user about one cause."""
    for error in group.exceptions:
        if isinstance(error, TowlineError):
            return error
        if isinstance(error, BaseExceptionGroup) and (inner := leading_error(error)):
            return inner
    return None


class UsageError(TowlineError):
    """The command, an option or a file it names cannot be used as written."""

    exit_code = 2


class ConfigError(TowlineError):
    """The kubeconfig is missing, broken, or names something it does not contain."""

    exit_code = 3


class AccessError(TowlineError):
    """A right is missing: in the cluster (RBAC, quota, policy) or on this machine."""

    exit_code = 5


class AgentError(TowlineError):
    """The agent's pod did not start, or did not stay."""

    exit_code = 6


class HopelessError(AgentError):
    """Agents were lost again and again for the same reason: another would be, too."""


class RedirectError(TowlineError):
    """This machine's kernel or tools refused what the redirect needs."""

    exit_code = 7


class SessionError(TowlineError):
    """Another session stands in the way, or the one that was asked for is not there."""

    exit_code = 8
