"""``python -m registry`` is the command line."""

from registry.cli import main  # type: ignore[import-not-found]  # mypy sees it as cli/

if __name__ == "__main__":
    main()
