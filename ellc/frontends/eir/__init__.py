"""ellc's own container (`.eir`)."""
