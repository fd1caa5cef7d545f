"""One module for each thing that is measured; a module whose name begins with ``_`` is shared by some of them."""
