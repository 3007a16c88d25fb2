"""The Ray cluster: joining it, what it can hold, signs of life, and studies as its jobs."""
