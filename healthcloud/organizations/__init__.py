"""Organizations, their environments, projects, people and keys."""
