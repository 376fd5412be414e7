"""Data from elsewhere: motion capture, published label formats, and people made up for tests and benchmarks."""
