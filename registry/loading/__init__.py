"""Whatever takes a version out of the registry."""
