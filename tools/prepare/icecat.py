"""Fetch the Icecat catalogue and its judgments from the Chorus project, or take a local copy, and verify them.

    python tools/prepare/icecat.py --out data/icecat                   # downloads 6 MB from github.com/querqy/chorus
    python tools/prepare/icecat.py --out data/icecat --from ~/chorus   # from a clone, or a folder prepared before

The folder then holds what ``catalog=icecat`` reads: ``products-1..4.json.zip`` and ``judgments.csv``.

Archives are checked against their SHA-256. The ratings have no digest on record: they are pinned to a commit and
checked for their form. Ratings of products that are not among the 19,406 are left out, as are unrated rows and pairs
with two ratings, each counted. The public ratings cover more queries, and fewer products of each, than the judgments
behind the project's own figures, so expect other figures than the README's.

Tried: local copies, verification and conversion, in the tests and on the real archives. Not tried yet: the download
itself, and the conversion of the whole public ratings file.

Source: github.com/querqy/chorus (Apache-2.0); product texts from the Open Icecat catalogue (Open Content License).
"""

import argparse
import csv
import hashlib
import shutil
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing.errors import ShortlistError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import IcecatCatalog

HOME = "https://raw.githubusercontent.com/querqy/chorus"
TIMEOUT_S = 60.0
GRADES = ("0", "1", "2", "3")
DATA_EXIT = 3  # the command line's exit code for data
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A file of the Chorus repository.

    Attributes:
        name: What it is called in the prepared folder.
        path: Where it lies in the repository.
        commit: The commit it is taken from, so that the address always gives the same bytes.
        sha256: Of its bytes; empty when none is on record.
    """

    name: str
    path: str
    commit: str
    sha256: str

    @property
    def url(self) -> str:
        """Where it can be downloaded."""
        return f"{HOME}/{self.commit}/{self.path}"


ARCHIVE_FOLDER = "data-encoder/ecommerce/vectors/data"
ARCHIVES = (
    PublicFile(
        "products-1.json.zip",
        f"{ARCHIVE_FOLDER}/1.json.zip",
        "bc9883aefbcf45e53c9bdcb806364077ad330556",
        "15b622a11a6267aa0c450919a84b0fc41d7748db552f4c9c0e04167bbc7c38cb",
    ),
    PublicFile(
        "products-2.json.zip",
        f"{ARCHIVE_FOLDER}/2.json.zip",
        "bc9883aefbcf45e53c9bdcb806364077ad330556",
        "17d95160289440d03ca50af65c1363d9edd1d5e82678ddb874b27aeac1f87c33",
    ),
    PublicFile(
        "products-3.json.zip",
        f"{ARCHIVE_FOLDER}/3.json.zip",
        "c1ce98722371ec489d4bc892fdecac4bc593e0b1",
        "d4d088908fa648da7e79682872a77771ba42f065b253c4fb0f333e630d94f45a",
    ),
    PublicFile(
        "products-4.json.zip",
        f"{ARCHIVE_FOLDER}/4.json.zip",
        "29047d502be1c34056f06ce0f32996979da7e076",
        "533329e5173eac349ce61512fc86a352d5f6651e31694e03aa6e8428cbeaf3c0",
    ),
)
RATINGS = PublicFile(
    "Broad_Query_Set_rated.csv",
    "katas/Broad_Query_Set_rated.csv",
    "5f7e67688bdd57a9b6769d60ad35bc4d95d0c6f3",
    "",
)
PREPARED = ("judgments.csv", "judgments_human.csv")
"""Judgments that a folder prepared before already has; they are taken as they are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill; created when it is not there")
    parser.add_argument("--from", type=Path, dest="local", help="a clone of Chorus or a prepared folder; no download")
    options = parser.parse_args(arguments)
    try:
        prepare(options.out, local=options.local)
    except (ShortlistError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return DATA_EXIT
    return 0


def prepare(out: Path, *, local: Path | None, archives: Sequence[PublicFile] = ARCHIVES) -> None:
    """Fill ``out`` and read it once as the engine would.

    Args:
        out: The folder; archives that are there already and have the right digest are kept.
        local: Where to take the files from; ``None`` downloads them.
        archives: The archives of products.

    Raises:
        SourceDataError: If a file is missing, has another digest, or does not have the form it should have.
    """
    out.mkdir(parents=True, exist_ok=True)
    bring = _downloader() if local is None else _copier(local)
    for archive in archives:
        _place(archive, out, bring)
    if not _copy_prepared(local, out):
        _place(RATINGS, out, bring)
        left_out = convert_ratings(out / RATINGS.name, out / "judgments.csv", known=_product_ids(out))
        print(f"ratings left out: {dict(left_out) or 'none'}")
    catalog = open_catalog(IcecatCatalog(name="icecat"), out)
    count = sum(len(batch.products) for batch in catalog.products())
    print(f"{out}: {count} products, {len(catalog.queries())} queries, {len(catalog.judgments())} judgments")


def convert_ratings(ratings: Path, judgments: Path, *, known: Collection[str]) -> Counter[str]:
    """Write ``query,product_id,grade,source`` from Chorus's ``query,docid,rating``.

    Args:
        ratings: The public file.
        judgments: The file to write.
        known: The product_ids of the catalogue.

    Returns:
        Reason -> rows left out.

    Raises:
        SourceDataError: If a column is missing or a rating is none of 0 to 3; names the file and the row.
    """
    grades: dict[tuple[str, str], str] = {}
    conflicts: set[tuple[str, str]] = set()
    left_out: Counter[str] = Counter()
    with ratings.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"query", "docid", "rating"} <= set(reader.fieldnames or ()):
            raise SourceDataError(f"{ratings}: expected the columns query, docid, rating, got {reader.fieldnames}")
        for number, row in enumerate(reader, start=2):
            pair, grade = ((row["query"] or "").strip(), (row["docid"] or "").strip()), (row["rating"] or "").strip()
            if not grade:
                left_out["unrated"] += 1
            elif grade not in GRADES or not all(pair):
                raise SourceDataError(f"{ratings}: row {number}: expected query, docid and 0 to 3, got {row}")
            elif pair[1] not in known:
                left_out["product not in the catalogue"] += 1
            elif grades.setdefault(pair, grade) != grade:
                conflicts.add(pair)
    left_out.update({"pair with two ratings": len(conflicts)} if conflicts else {})
    rows = [(*pair, grade, "human") for pair, grade in grades.items() if pair not in conflicts]
    _write_csv(judgments, [("query", "product_id", "grade", "source"), *rows])
    return left_out


# --- bringing files ---------------------------------------------------------------------------------------------------


def _place(public: PublicFile, out: Path, bring: Callable[[PublicFile, Path], None]) -> None:
    """Bring a file under its final name once its digest is right; one that is there and right stays."""
    final = out / public.name
    if public.sha256 and final.is_file() and _sha256(final) == public.sha256:
        print(f"{public.name}: there already")
        return
    partial = final.with_name(final.name + ".partial")
    try:
        bring(public, partial)
        found = _sha256(partial)
        if public.sha256 and found != public.sha256:
            raise SourceDataError(f"{public.name}: expected SHA-256 {public.sha256}, got {found} from {public.url}")
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{public.name}: sha256 {found}{'' if public.sha256 else ' (none on record)'}")


def _downloader() -> Callable[[PublicFile, Path], None]:
    def download(public: PublicFile, target: Path) -> None:
        print(f"{public.name}: fetching {public.url}")
        try:
            with urllib.request.urlopen(public.url, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file, CHUNK_BYTES)
        except (urllib.error.URLError, TimeoutError) as error:
            hint = "clone github.com/querqy/chorus where there is a network and use --from"
            raise SourceDataError(f"{public.url} cannot be fetched: {error}; {hint}") from error

    return download


def _copier(local: Path) -> Callable[[PublicFile, Path], None]:
    def copy(public: PublicFile, target: Path) -> None:
        places = (local / public.name, local / public.path)
        source = next((place for place in places if place.is_file()), None)
        if source is None:
            raise SourceDataError(f"{local} has neither {public.name} nor {public.path}")
        shutil.copyfile(source, target)

    return copy


def _copy_prepared(local: Path | None, out: Path) -> bool:
    """Copy judgments that a prepared folder has; return whether it has them."""
    if local is None or not (local / PREPARED[0]).is_file():
        return False
    for name in PREPARED:
        if (local / name).is_file() and (local / name).resolve() != (out / name).resolve():
            shutil.copyfile(local / name, out / name)
    return True


def _product_ids(out: Path) -> set[str]:
    catalog = open_catalog(IcecatCatalog(name="icecat"), out)
    return {product.product_id for batch in catalog.products() for product in batch.products}


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    partial.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
