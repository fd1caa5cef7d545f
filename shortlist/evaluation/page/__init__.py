"""report.html: an evaluation as one page, a module for each section; ``render`` needs jinja2 (extra ``eval``)."""
