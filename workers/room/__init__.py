"""The heart: what is known of one room, and what follows from it. No clock, no I/O."""
