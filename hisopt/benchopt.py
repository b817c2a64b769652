"""``python -m hisopt.benchopt``; see `hisopt.commands.benchopt`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.benchopt import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.benchopt", error)

if __name__ == "__main__":
    main()
