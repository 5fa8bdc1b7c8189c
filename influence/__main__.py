"""`python -m influence` is the same program as `influence`."""

from influence.cli.main import main

if __name__ == "__main__":
    main()
