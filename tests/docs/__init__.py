"""The documentation is true: its commands and code run, its generated pages are up to date, its links lead somewhere."""
