"""Pages to look at a registry with: each a GET URL, whole without JavaScript."""
