"""What the commands that talk to a guest have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from blindllama._cli.output import Output
from blindllama.errors import UsageError, VerificationError
from blindllama.report import Report
from blindllama.repository import Repository
from blindllama.session import AttestedSession, verify_and_connect

__all__ = ["connect", "connect_and_tell", "evidence_path", "policy_path", "release_source"]


def connect(
    options: argparse.Namespace, output: Output, *, show: Callable[[Report], None] | None = None
) -> AttestedSession:
    """Return the verified session that the command's options describe.

    Args:
        options: The command's.
        output: Gets the report into its JSON document, on a refusal too.
        show: Also gets it, on a refusal too.

    Raises:
        Error: as `verify_and_connect`.
    """
    try:
        session = verify_and_connect(
            options.url,
            address=options.address,
            release=release_source(options),
            policy=None if options.policy is None else policy_path(options.policy),
            memory=options.memory,
            known=[evidence_path(path) for path in options.known],
            timeout_s=options.timeout,
        )
    except VerificationError as exc:
        _hand_out(exc.report or Report(), output, show)
        raise
    _hand_out(session.report, output, show)
    return session


def connect_and_tell(options: argparse.Namespace, output: Output) -> AttestedSession:
    """Return the verified session, having said on standard error what was verified.

    Raises:
        Error: as `connect`.
    """
    session = connect(options, output, show=output.note_report if options.report else None)
    output.verified(session.release, session.report)
    return session


def _hand_out(report: Report, output: Output, show: Callable[[Report], None] | None) -> None:
    output.field("report", report.to_json())
    if show is not None:
        show(report)


def release_source(options: argparse.Namespace) -> Path | Repository:
    """Return where the release comes from: a file, or a repository.

    Raises:
        UsageError: the options name none, or both, or leave out what must come with it.
    """
    if options.repository is None:
        if options.release is None or options.policy is None:
            raise UsageError("expected --release and --policy, or --repository and --root")
        if options.root is not None or options.repository_memory is not None:
            raise UsageError("--root and --repository-memory: expected beside --repository alone")
        return evidence_path(options.release)
    if options.release is not None or options.root is None:
        raise UsageError("--repository: expected --root beside it, and no --release")
    return Repository(
        options.repository,
        root=options.root,
        memory=options.repository_memory,
        timeout_s=options.timeout,
    )


def evidence_path(path: Path) -> Path:
    """Return the evidence file that a path means: a release's folder stands for its file."""
    return path / "evidence.json" if path.is_dir() else path


def policy_path(path: Path) -> Path:
    """Return the policy file that a path means: a folder stands for the policy in it."""
    return path / "policy.toml" if path.is_dir() else path
