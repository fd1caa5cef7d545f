"""Programs for developers: measuring, preparing, checking. Run from a checkout, never shipped."""
