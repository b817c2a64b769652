"""``python -m hisopt.profile``; see `hisopt.commands.profile`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.profile import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.profile", error)

if __name__ == "__main__":
    main()
