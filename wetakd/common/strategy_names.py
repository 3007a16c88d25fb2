"""Names of the built-in strategies for ensemble weights, as study files and the column `strategy` contain them."""

UNIFORM = "uniform"
RANDOM = "random"
RANDOM_SEARCH = "random_search"
DE = "de"
GREEDY = "greedy"
CONVEX = "convex"
BEST_SINGLE = "best_single"
