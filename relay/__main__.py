"""``python -m relay``."""

from relay.cli.app import main

if __name__ == "__main__":
    main()
