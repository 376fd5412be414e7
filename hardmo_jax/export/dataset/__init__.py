"""Labels as a data set that can be published."""
