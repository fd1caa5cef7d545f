"""The command line: words in, one job called, text or JSON out, and an exit code that scripts can trust.

0 fine, 2 configuration, 3 data, 4 environment, 5 a quality gate failed. Errors go to stderr, progress too.
"""

import json
import os
import sys
from collections.abc import Sequence

from indexing.errors import (
    ArtifactError,
    ConfigError,
    EnvironmentProblem,
    GateFailed,
    InvalidQuery,
    ShortlistError,
    SourceDataError,
    StorageError,
    VectorError,
)
from shortlist.cli.options import command_usage, find_command, parse, usage
from shortlist.version import __version__

__all__ = ["main"]

EXIT_CODES: tuple[tuple[type[ShortlistError], int], ...] = (
    (ConfigError, 2),
    (InvalidQuery, 2),
    (SourceDataError, 3),
    (VectorError, 3),
    (ArtifactError, 3),
    (StorageError, 4),
    (EnvironmentProblem, 4),
    (GateFailed, 5),
)
INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: Words after the program's name; ``None`` takes them from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(usage())
        return 0
    if words[0] in ("--version", "version"):
        print(f"shortlist {__version__}")
        return 0
    try:
        return _run(words[0], words[1:])
    except ShortlistError as error:
        return _fail(error, words)
    except ValueError as error:
        return _fail(ConfigError(str(error)), words)
    except BrokenPipeError:  # the reader (head, less) has seen enough; flushing at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-published; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED


def _run(name: str, words: Sequence[str]) -> int:
    command = find_command(name)
    parsed = parse(command, words)
    if parsed.help:
        from shortlist.cli.settings import configuration_usage

        print(command_usage(command))
        print(configuration_usage(command))
        return 0
    from shortlist.cli.commands import RUNNERS

    outcome = RUNNERS[command.name](parsed)
    if parsed.json:
        print(json.dumps(outcome.values, ensure_ascii=False, indent=1, default=str))
    else:
        print(outcome.text)
    return outcome.exit_code


def _fail(error: ShortlistError, words: Sequence[str]) -> int:
    exit_code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
    print(f"shortlist {words[0]}: {error}", file=sys.stderr)
    if "--json" in words:
        print(
            json.dumps(
                {"error": {"code": error.code, "message": str(error), "exit_code": exit_code}}, ensure_ascii=False
            )
        )
    return exit_code
