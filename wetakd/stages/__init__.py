"""The stages of a running study, one module each."""
