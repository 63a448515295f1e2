"""What towline does for its user, one module a feature."""
