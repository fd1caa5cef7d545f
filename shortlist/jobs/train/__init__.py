"""Job ``train``: a whole recipe as named steps, each measured with and without it on held-out queries."""
