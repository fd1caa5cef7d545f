"""One module per offline job; each takes a typed configuration and paths, and returns a report."""
