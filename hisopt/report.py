"""``python -m hisopt.report``; see `hisopt.commands.report`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.report import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.report", error)

if __name__ == "__main__":
    main()
