"""``python -m hisopt.solve``; see `hisopt.commands.solve`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.solve import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.solve", error)

if __name__ == "__main__":
    main()
