"""Configuration and artifact files that somebody made to be opened: each is one thing a bundle of ours never holds.

Every hash is made to fit, and where it can be the fingerprint too, so that what refuses is the check of the content.
Payloads name `sentinel_payload`, a module that writes a file when it is imported or called; nothing may touch it.
"""

from tools.reliability.harness.hostile_kinds import contents, manifest, models
from tools.reliability.harness.hostile_kinds.kind import HostileKind
from tools.reliability.harness.hostile_kinds.overrides import overrides
from tools.reliability.harness.hostile_kinds.special_files import special_files


def hostile_kinds() -> list[HostileKind]:
    """Return every kind, each with a name of its own."""
    parts = (
        *(manifest.current, manifest.fields, manifest.configurations, manifest.json_forms),
        *(models.modules, models.settings, models.weights, models.tokenizers),
        *(contents.indexes, contents.lexical, contents.products, contents.canaries),
        *(special_files, overrides),
    )
    return [kind for part in parts for kind in part()]
