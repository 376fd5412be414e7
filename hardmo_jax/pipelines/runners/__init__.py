"""Jobs of many videos and photos: what is to be done, what is done, and who does it."""
