"""Orders of the numbers of a box, for options that are shown before anything is read."""

BOX_ORDERS = ("xywh", "xyxy")
"""Left, top, width and height; or left, top, right and bottom."""
