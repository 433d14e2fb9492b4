"""From observations to action chunks: bundles, preprocessing, inference, following."""
