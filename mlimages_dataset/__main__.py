"""`python -m mlimages_dataset`: the command mlimages-build."""

from mlimages_dataset.cli.main import main  # type: ignore[import-not-found]  # setup.cfg maps the folder cli to it

if __name__ == "__main__":
    main(prog_name="python -m mlimages_dataset")
