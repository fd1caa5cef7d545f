"""Versions that must never serve: functions that publish a harmed copy of a bundle's live version.

Each kind is a good version with one thing wrong, made by somebody who can write to the bundle: by accident (a flipped
byte, a lost file) or on purpose, with every hash made to fit. Whoever opens or reloads the bundle must refuse it with
the error code that the kind names, and go on with what it had.

    for kind in BAD_CANDIDATES:
        with offered(root, kind):
            ...  # CURRENT names the harmed version; opening must raise an error whose code is kind.code

The bundle needs an encoder, a cross-encoder and a flat index.
"""

from tools.reliability.harness.bad_candidates.accidents import ACCIDENTS
from tools.reliability.harness.bad_candidates.forgeries import FORGERIES

BAD_CANDIDATES = (*ACCIDENTS, *FORGERIES)
