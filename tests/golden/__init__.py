"""A whole build of hand-written lists, and the digests of what its tables hold."""
