"""Sample applications to try a mesh with. They know nothing of Marline and import nothing of it."""
