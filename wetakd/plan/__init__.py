"""What a study will do: the plan, what of it is stored, the cost forecast and the checks before training."""
