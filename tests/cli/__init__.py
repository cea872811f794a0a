"""The command, called as users call it."""
