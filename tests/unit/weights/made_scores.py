"""Small synthetic pools, and the naive count that everybody writes."""

import numpy as np


def make_scores(num_networks=3, num_samples=200, num_classes=5, seed=0, skill=1.5):
    """Logits of networks with shared and own noise, and labels."""
    generator = np.random.default_rng(seed)
    labels_N = generator.integers(num_classes, size=num_samples)
    logits_KNC = 0.8 * generator.normal(size=(num_samples, num_classes))
    logits_KNC = logits_KNC + generator.normal(size=(num_networks, num_samples, num_classes))
    logits_KNC[:, np.arange(num_samples), labels_N] += skill * generator.uniform(0.5, 1.5, size=(num_networks, 1))
    return logits_KNC, labels_N


def make_probabilities(*args, **kwargs):
    logits_KNC, labels_N = make_scores(*args, **kwargs)
    shares_KNC = np.exp(logits_KNC)
    return shares_KNC / shares_KNC.sum(axis=2, keepdims=True), labels_N


def naive_count(scores_KNC, labels_N, weights_K):
    """Right samples with numpy's tie rule."""
    return int((np.tensordot(weights_K, scores_KNC, axes=1).argmax(axis=1) == labels_N).sum())
