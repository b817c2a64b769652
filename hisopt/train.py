"""``python -m hisopt.train``; see `hisopt.commands.train`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.train import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.train", error)

if __name__ == "__main__":
    main()
