"""How a catalogue becomes a published bundle, one module per step; ``steps`` puts them in order."""
