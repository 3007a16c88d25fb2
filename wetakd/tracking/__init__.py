"""MLflow: what a study logs, the journal that keeps it, and the thread that sends the journal."""
