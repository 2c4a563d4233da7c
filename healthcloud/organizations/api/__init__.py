"""The REST API of organizations, projects, people and keys."""
