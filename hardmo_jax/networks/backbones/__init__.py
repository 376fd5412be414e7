"""Pictures to features: the parts of regressors that several of them share."""
