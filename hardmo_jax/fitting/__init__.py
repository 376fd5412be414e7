"""From observations to body parameters: terms, priors, stages, solvers."""
