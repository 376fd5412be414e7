"""Labels in the files that other people's trainers read."""
