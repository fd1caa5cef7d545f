"""What is watched while an engine serves: recall against exact search, on a sample of the live queries."""
