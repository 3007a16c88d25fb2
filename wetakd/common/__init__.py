"""What every other package may use: errors, redaction of credentials, canonical JSON, progress."""
