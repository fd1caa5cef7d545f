"""How a catalogue becomes a published bundle, one module per step; ``job.build`` runs them in order."""
