"""CMS Prior Auth API: prior authorization over Da Vinci PAS."""
