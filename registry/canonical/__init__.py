"""The canonical form: pure decisions about names, shapes and dtypes."""
