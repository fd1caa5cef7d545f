"""Build the wheel and prove that what a user installs is what the checkout holds.

The wheel must carry exactly the four packages, the configuration inside ``shortlist/conf``, and nothing of ``tests``
or ``tools``: four plain top-level names can collide, so they are watched here (docs/decisions/0001). It is then
installed in an environment of its own, where the command line has to run from a folder that is not the checkout.

The dependencies are not fetched again: that environment borrows those of the running interpreter, ours excepted.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("indexing", "rerank", "retrieval", "shortlist")
# Above this a file is an artefact, not source: the largest source of the project is a tenth of it.
LARGEST_FILE_BYTES = 1_000_000

# Run inside the clean environment: who owns our import names, where our package was found, and what it composes.
INSTALLED = """
import json, importlib.metadata, shortlist
from shortlist.compose import load_config
from shortlist.config import BuildConfig
owners = importlib.metadata.packages_distributions()
print(json.dumps({
    "file": shortlist.__file__,
    "owners": {name: owners.get(name, []) for name in NAMES},
    "index": type(load_config(BuildConfig, ["index=hnsw"]).index).__name__,
}))
"""


def expected_files(root: Path) -> set[str]:
    """Return the files a wheel must hold: all of the four packages, and the configuration inside ``shortlist``."""
    folders = {**{name: name for name in PACKAGES}, "conf": "shortlist/conf"}
    return {
        f"{target}/{path.relative_to(root / folder).as_posix()}"
        for folder, target in folders.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def content_problems(sizes: dict[str, int], expected: Iterable[str], version: str) -> list[str]:
    """Compare the files of a wheel (name -> size in bytes) with what it must and must not hold."""
    allowed = {*PACKAGES, f"shortlist-{version}.dist-info"}
    parts = {name: PurePosixPath(name).parts for name in sizes}
    found = {part[0] for part in parts.values()}
    problems = [f"top-level name that must not ship: {name}" for name in sorted(found - allowed)]
    problems += [f"top-level name missing: {name}" for name in sorted(allowed - found)]
    problems += [f"missing: {name}" for name in sorted(set(expected) - sizes.keys())]
    problems += [f"test or tool inside: {name}" for name, part in parts.items() if {"tests", "tools"} & set(part[:-1])]
    problems += [
        f"larger than {LARGEST_FILE_BYTES} bytes: {name}" for name, size in sizes.items() if size > LARGEST_FILE_BYTES
    ]
    return problems


def build_wheel(out: Path) -> Path:
    """Build the source distribution and, from it, the wheel; return the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    _run(command, cwd=ROOT)
    (wheel,) = out.glob(f"shortlist-{_version()}-*.whl")
    return wheel


def install_in_clean_environment(wheel: Path, folder: Path) -> Path:
    """Create an environment below ``folder`` that holds the wheel and borrows its dependencies; return its ``bin``."""
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], cwd=folder)
    site = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder).strip()
    borrowed = folder / "borrowed"
    _borrow_dependencies(borrowed)
    (Path(site) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return environment / "bin"


def _borrow_dependencies(borrowed: Path) -> None:
    """Link everything the running interpreter has installed, except our own package in whatever form it is there."""
    ours = {PurePosixPath(str(path)).parts[0] for path in metadata.distribution("shortlist").files or ()}
    borrowed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name not in {*ours, *PACKAGES}:
            (borrowed / entry.name).symlink_to(entry)


def installed_problems(binaries: Path, folder: Path) -> list[str]:
    """Run the installed package from ``folder`` and say what is wrong with it."""
    program = INSTALLED.replace("NAMES", json.dumps(PACKAGES))
    report = json.loads(_run([str(binaries / "python"), "-c", program], cwd=folder))
    problems = []
    if not Path(report["file"]).is_relative_to(binaries.parent):
        problems.append(f"the environment imports another shortlist: {report['file']}")
    if report["index"] != "HnswConfig":
        problems.append(f"index=hnsw composes a {report['index']}, expected HnswConfig: conf is not found")
    for name, owners in report["owners"].items():
        if owners != ["shortlist"]:
            problems.append(f"the import name {name} belongs to {owners}, expected shortlist alone")
    for arguments in (["--help"], ["doctor"]):
        _run([str(binaries / "shortlist"), *arguments], cwd=folder)
    return problems


def _run(command: list[str], *, cwd: Path) -> str:
    """Run a command outside the checkout's import path; show what it said and stop when it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"exit {done.returncode} from: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _version() -> str:
    return str(runpy.run_path(str(ROOT / "shortlist" / "version.py"))["__version__"])


def main() -> int:
    """Build, look inside, install, run; print one line per problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the wheel and the source distribution here")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory(prefix="check_wheel_") as name:
        folder = Path(name)
        wheel = build_wheel(out.resolve() if out else folder / "dist")
        with zipfile.ZipFile(wheel) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        problems = content_problems(sizes, expected_files(ROOT), _version())
        problems += installed_problems(install_in_clean_environment(wheel, folder), folder)
    for problem in problems:
        print(f"{wheel.name}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{wheel.name}: {len(sizes)} files, nothing missing, nothing foreign; the installed command line runs")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
