"""Tasks: where they come from, which are held out, and in which order the rest is trained."""
