"""The parts of the command `wetakd`."""
