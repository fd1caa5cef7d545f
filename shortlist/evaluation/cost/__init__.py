"""What a search costs, measured beside its quality: recall, latency with the machine's noise, memory and money."""
