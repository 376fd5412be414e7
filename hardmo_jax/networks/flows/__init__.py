"""Networks that can be run backwards: densities."""
