"""Motion as files of animation programs, body-model tools and robots."""
