"""Every promise of docs/reliability.md, tried in full: one program per promise, and ``run.py``, which runs them all.

A module of this folder (not of ``harness/``) is a program: it has a function ``sweep(*, quick)`` that yields a
`harness.figures.Figure` per promise, and ends with ``sys.exit(command(__doc__, sweep))``. It is found by lying here.
"""
