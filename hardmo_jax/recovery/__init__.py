"""What joins folders of one floor: motion capture to SMPL, bodies to bodies, labels to better labels."""
