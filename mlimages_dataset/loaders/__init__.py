"""PyTorch data sets, samplers, transforms and loaders over image shards and label tables."""
