"""What MLflow gets, by one writer behind a durable journal."""
