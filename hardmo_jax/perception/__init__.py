"""From pixels to observations: media, detection, keypoints, tracks."""
