"""Jobs that write labels for other programs, read motion back, and take people out again."""
