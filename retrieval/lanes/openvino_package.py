"""OpenVINO, imported so that it reports to nobody.

``import openvino`` imports ``openvino_telemetry`` where that is installed, and it is a dependency of the package: it
writes a client id into the home directory and sends events, the import itself among them, unless it was told not to
(openvino 2026.4, ``openvino/tools/ovc/__init__.py``). Without that module it uses a stub of its own, so it is made to
find none.
"""

import importlib
import importlib.util
import sys
import threading
from types import ModuleType

from indexing.errors import EnvironmentProblem

TELEMETRY = "openvino_telemetry"

INSTALL = 'install it with: pip install "shortlist[fast]"'

_importing = threading.Lock()


def has_openvino() -> bool:
    """Return whether the package is installed; imports nothing."""
    return "openvino" in sys.modules or importlib.util.find_spec("openvino") is not None


def load_openvino() -> ModuleType:
    """Return the module, imported without its telemetry; a program that imported it before decided for itself.

    Raises:
        EnvironmentProblem: When it is not installed, or does not import.
    """
    with _importing:
        if "openvino" not in sys.modules and TELEMETRY not in sys.modules:
            sys.modules[TELEMETRY] = None  # type: ignore[assignment] # what Python takes for: there is no such module
        try:
            module = importlib.import_module("openvino")
        except ImportError as error:
            raise EnvironmentProblem(f"runtime.backend=openvino needs OpenVINO ({error}); {INSTALL}") from error
    return module
