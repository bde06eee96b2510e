"""What of this folder needs the server's own libraries to be imported, where they are not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("starlette") else ["test_hub_routes.py"]
