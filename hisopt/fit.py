"""``python -m hisopt.fit``; see `hisopt.commands.fit`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.fit import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.fit", error)

if __name__ == "__main__":
    main()
