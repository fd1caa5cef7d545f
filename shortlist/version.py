"""The version of the package, read by the build and by every artefact."""

__version__ = "0.1.0"
