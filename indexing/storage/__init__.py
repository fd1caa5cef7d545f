"""All file I/O of artefacts: whole writes, synced before they are named, and errors that say what to do.

A write is complete or absent. What must survive a power cut is published in this order: write, fsync the file, fsync
its folder, rename, fsync the folder of the new name. Every system call goes through `FileSystem`, which tests replace.
"""

from indexing.storage.filesystem import FileSystem, using
from indexing.storage.folders import (
    list_folder,
    make_folder,
    remove_file,
    remove_folder,
    require_space,
    sync_folder,
    undone,
)
from indexing.storage.hold import Hold, hold
from indexing.storage.lock import exclusive_lock
from indexing.storage.publishing import adopt, adopt_folder, move_file, publish_folder
from indexing.storage.reading import FileDigest, digest, map_array, parse_json, read_bytes, read_json, stream
from indexing.storage.removing import remove_leftovers, retire_folder
from indexing.storage.writing import (
    FileWriter,
    create_bytes,
    link_or_copy,
    replace_bytes,
    replace_json,
    write_bytes,
    write_json,
    writer,
)

__all__ = [
    "FileDigest",
    "FileSystem",
    "FileWriter",
    "Hold",
    "adopt",
    "adopt_folder",
    "create_bytes",
    "digest",
    "exclusive_lock",
    "hold",
    "link_or_copy",
    "list_folder",
    "make_folder",
    "map_array",
    "move_file",
    "parse_json",
    "publish_folder",
    "read_bytes",
    "read_json",
    "remove_file",
    "remove_folder",
    "remove_leftovers",
    "replace_bytes",
    "replace_json",
    "require_space",
    "retire_folder",
    "stream",
    "sync_folder",
    "undone",
    "using",
    "write_bytes",
    "write_json",
    "writer",
]
