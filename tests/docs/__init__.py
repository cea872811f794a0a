"""The documentation is true: commands and code run, generated pages are up to date, links lead somewhere."""
