"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from wetakd.config import RecipeConfig


def learning_rate(recipe: RecipeConfig, step: int, num_steps: int) -> float:
    """Rate of step 0 .. num_steps - 1.

    Warm-up rises in equal steps and ends on the peak. Then `cosine` falls from the peak towards 0 over what remains
    (0 would be reached at step `num_steps`); `step` falls by `gamma` at each milestone, a share of all of training.
    """
    num_warmup = round(recipe.warmup_epochs / recipe.epochs * num_steps)
    if step < num_warmup:
        return recipe.lr * ((step + 1) / num_warmup)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / (num_steps - num_warmup)))
    if recipe.schedule == "step":
        passed = sum(step >= milestone * num_steps for milestone in recipe.milestones)
        return recipe.lr * recipe.gamma**passed
    return recipe.lr
