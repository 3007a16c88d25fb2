"""One network: what it is, what it learns from, and the one loop. Plain torch; knows neither Ray nor MLflow."""
