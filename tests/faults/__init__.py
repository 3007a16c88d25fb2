"""Random faults against whole studies on a real cluster of several nodes: `python -m tests.faults --runs N --seed S`.

Each run starts a tiny study, hurts something at a random moment, starts the study once more where its driver died,
and holds what it left against an undisturbed run: the table, every blob on storage, every run in MLflow. What came out
stands in docs/faults.md.
"""
