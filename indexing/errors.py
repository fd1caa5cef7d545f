"""The errors every package of Shortlist raises, in one tree, each with a stable ``code``.

::

    ShortlistError                code "shortlist"
    ├── ConfigError               config               an option, a group member or a combination that cannot work
    ├── SourceDataError           source_data          a catalogue, query or judgment file breaks its contract
    ├── VectorError               vector               NaN, infinite, zero, badly shaped or not unit-length vectors
    ├── InvalidQuery              invalid_query        a query that cannot be answered (empty, wrong type, bad filter)
    │   └── QueryTooLong          query_too_long
    ├── ArtifactError             artifact             something on disk that we wrote and that cannot be used
    │   ├── ArtifactNotFound      artifact_not_found
    │   ├── ArtifactCorrupt       artifact_corrupt     size or digest differ from the manifest
    │   ├── ArtifactIncompatible  artifact_incompatible   another format version
    │   ├── ArtifactUntrusted     artifact_untrusted   a file or a key that no bundle of ours contains
    │   └── FingerprintMismatch   fingerprint_mismatch a query tower that did not build this index
    ├── StorageError              storage              the file system said no (EIO, EMFILE, EROFS, ...)
    │   ├── StorageFull           storage_full
    │   ├── BuildLocked           build_locked         another builder holds the output directory
    │   └── CommitUncertain       commit_uncertain     published, but its durability could not be confirmed
    ├── EnvironmentProblem        environment          a missing package, device or instruction set
    ├── ReloadRejected            reload_rejected      a new version was refused; the old one goes on serving
    ├── EngineClosed              engine_closed        a call after `close`
    ├── ForkSafetyError           fork_safety          a call in a child forked after models or indexes were used
    └── GateFailed                gate_failed          a quality gate was set and not reached

``ValueError`` and ``TypeError`` stay what they are in Python: a call with arguments that no artefact or data could make
right. A message says what was expected, what came, where, and what to do about it.
"""

from collections.abc import Iterable


class ShortlistError(Exception):
    """The root of the tree; catch this to catch everything Shortlist raises on purpose."""

    code = "shortlist"


class ConfigError(ShortlistError):
    """An option, a configuration key or a combination of them that cannot work."""

    code = "config"


class SourceDataError(ShortlistError):
    """A catalogue, query or judgment file breaks its contract; the message names file, column and rows."""

    code = "source_data"


class VectorError(ShortlistError):
    """Vectors that no index may hold: not finite, zero, not of unit length, or of the wrong shape or dtype.

    Attributes:
        positions: Which of the vectors or texts given, from 0, every one; empty when it is not about single ones.
        names: What the caller calls what is concerned (product ids), every one; empty when nobody said.
    """

    code = "vector"

    def __init__(self, message: str, *, positions: Iterable[int] = (), names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.positions = tuple(int(position) for position in positions)
        self.names = tuple(names)


class InvalidQuery(ShortlistError):
    """A query that cannot be answered as it stands."""

    code = "invalid_query"


class QueryTooLong(InvalidQuery):
    """A query text over the character limit, refused before any tokenizer sees it."""

    code = "query_too_long"


class ArtifactError(ShortlistError):
    """Something on disk that Shortlist wrote and that cannot be used."""

    code = "artifact"


class ArtifactNotFound(ArtifactError):
    """No bundle, version or file at the path given."""

    code = "artifact_not_found"


class ArtifactCorrupt(ArtifactError):
    """A file whose size or SHA-256 differs from what its manifest says, or that does not parse."""

    code = "artifact_corrupt"


class ArtifactIncompatible(ArtifactError):
    """An artefact of a format version that this release does not read."""

    code = "artifact_incompatible"


class ArtifactUntrusted(ArtifactError):
    """A file, key or path in an artefact that Shortlist never writes."""

    code = "artifact_untrusted"


class FingerprintMismatch(ArtifactError):
    """A query tower other than the one whose vectors are in the index; the message names the field."""

    code = "fingerprint_mismatch"


class StorageError(ShortlistError):
    """The file system refused an operation; the message names operation, path and cause."""

    code = "storage"


class StorageFull(StorageError):
    """No room left on the device, or less than a build will need."""

    code = "storage_full"


class BuildLocked(StorageError):
    """Another process is building into the same directory; the message names it."""

    code = "build_locked"


class CommitUncertain(StorageError):
    """The new version is visible, but the last sync failed: the next open decides which version lives."""

    code = "commit_uncertain"


class EnvironmentProblem(ShortlistError):
    """A package, a device or a processor feature that was asked for is not there."""

    code = "environment"


class ReloadRejected(ShortlistError):
    """What CURRENT names was refused; nothing changed for callers.

    Attributes:
        cause: Why, as the error that refused it says; that error is ``__cause__``.
        serving_version: The version that answered before and still does.
    """

    code = "reload_rejected"

    def __init__(self, cause: str, serving_version: str) -> None:
        """Take what refused the candidate, and the version that goes on serving."""
        super().__init__(cause, serving_version)
        self.cause = cause
        self.serving_version = serving_version

    def __str__(self) -> str:
        """Say what was refused, what serves, and what to do."""
        return (
            f"the live version was refused: {self.cause}. {self.serving_version} goes on serving; publish another "
            f"version, or go back to that one with: shortlist rollback"
        )


class EngineClosed(ShortlistError):
    """A call to an engine after ``close``."""

    code = "engine_closed"


class ForkSafetyError(ShortlistError):
    """A call in a process forked after models or indexes were used, where it would wait for ever."""

    code = "fork_safety"


class GateFailed(ShortlistError):
    """A quality gate was set and not reached; what was measured is in the message."""

    code = "gate_failed"
