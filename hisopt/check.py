"""``python -m hisopt.check``; see `hisopt.commands.check`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.check import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.check", error)

if __name__ == "__main__":
    main()
