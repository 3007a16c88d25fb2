"""The logit cache, and networks and logits that come from an external source."""
