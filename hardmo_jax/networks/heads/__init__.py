"""Features to body parameters: what sets regressors with the same backbone apart."""
