"""Labels as files of other programs: motion, training sets, data sets."""
