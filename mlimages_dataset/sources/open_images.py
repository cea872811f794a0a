"""Open Images: image-level labels V1 to V7 (ImageID, LabelName, Confidence), and image tables (ImageID, OriginalURL).

https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.delimited import DelimitedSource, confidence_sql, read_header
from mlimages_dataset.sources.pieces import Piece

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


class OpenImages(DelimitedSource):
    """Open Images' label files and image tables; the latter give only locations of images."""

    name: ClassVar[str] = "open-images"
    ids_of: ClassVar[str | None] = "open-images"
    takes_wnids: ClassVar[bool] = False
    read_columns = frozenset({"ImageID", "LabelName", "Confidence", "OriginalURL"})

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        columns = tuple(read_header(path))
        if {"ImageID", "LabelName", "Confidence"} <= set(columns):
            return Piece(path, columns, places=False)
        if {"ImageID", "OriginalURL"} <= set(columns):
            return Piece(path, columns, states=False)
        raise DataError(
            f"its header ({', '.join(columns)[:80]}) has neither LabelName and Confidence nor OriginalURL",
            where=path,
            line=1,
            remedy="name Open Images' image-level label files and image tables",
        )

    def selection(self, piece: Piece, *, digits: bool) -> str:
        """See `DelimitedSource.selection`."""
        if piece.states:
            confidence = confidence_sql("Confidence", digits=digits)
            return f"SELECT ImageID AS image_id, LabelName AS class_id, {confidence}, '' AS location"
        no_class = "'' AS class_id, 1::FLOAT AS confidence, NULL AS stated"
        return f"SELECT ImageID AS image_id, {no_class}, OriginalURL AS location"
