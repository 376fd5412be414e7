"""Named joints and keypoints of every convention, and how one maps to another."""
