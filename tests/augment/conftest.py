"""Settings of the property tests."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # the first example of a test may have to compile
settings.load_profile("untimed")
