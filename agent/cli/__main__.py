"""``python -m strop.agent.cli`` is ``strop``."""

from strop.agent.cli.app import main

if __name__ == "__main__":
    main()
