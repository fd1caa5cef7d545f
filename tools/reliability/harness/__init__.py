"""What the programs of ``tools/reliability`` share; nothing here is a program."""
