"""``python -m checkpoint_registry`` is the command line, whatever else is called ``registry``."""

from checkpoint_registry.cli import main

if __name__ == "__main__":
    main()
