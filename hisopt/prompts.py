"""``python -m hisopt.prompts``; see `hisopt.commands.prompts`."""

from hisopt.errors import missing_package

try:
    from hisopt.commands.prompts import main
except ModuleNotFoundError as error:  # as in a checkout of which nothing was installed
    if __name__ != "__main__":
        raise
    missing_package("hisopt.prompts", error)

if __name__ == "__main__":
    main()
