"""``python -m hisopt.compare``; see `hisopt.commands.compare`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.compare import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.compare", error)

if __name__ == "__main__":
    main()
