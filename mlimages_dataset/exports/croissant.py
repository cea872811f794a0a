"""A Croissant description with one Parquet table per split.

Croissant 1.0: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html. Its library is not needed to write it.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from mlimages_dataset.exports.counts import ExportCounts, everything, summed
from mlimages_dataset.exports.publication import CONFIDENCE, ORIGIN, description
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import table_writer
from mlimages_dataset.tables.schemas import LABELS
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.exports.publication import Publication
    from mlimages_dataset.exports.writing import Export, PartWritten, Written
    from mlimages_dataset.tables.files import Inputs, Receipt

CROISSANT_FILE = "croissant.json"
_PARQUET = "application/x-parquet"
_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CONTEXT: Mapping[str, Json] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write(export: Export) -> Written:
    """Write one table per split, the vocabulary's tables and their description."""
    # One file per split: readers of Croissant check the digest of a single file, not of a set of files.
    work = functools.partial(_write_split, n_classes=len(export.vocabulary), inputs=dict(export.at.inputs))
    jobs = [(tuple(parts), export.at.out / split / "part-00000.parquet") for split, parts in export.splits.items()]
    results = list(export.done(work, jobs))
    files = dict(zip(export.splits, (receipt for receipt, _ in results), strict=True))
    tables = export.vocabulary_tables()
    text = croissant(export.publication, len(export.vocabulary), files, tables, version=__version__)
    receipts = [*files.values(), *tables, write_bytes(export.at.out / CROISSANT_FILE, text)]
    return receipts, summed(counts for _, counts in results)


def croissant(
    publication: Publication,
    n_categories: int,
    splits: Mapping[str, Receipt],
    tables: Sequence[Receipt],
    *,
    version: str,
) -> bytes:
    """Return the Croissant description of a folder with one `labels` table per split and a vocabulary's tables.

    Args:
        publication: the publisher's facts.
        n_categories: categories in the vocabulary.
        splits: the file of each split, in a folder named like the split.
        tables: the files of the vocabulary, `categories` among them, in the folder itself.
        version: the data set's version.
    """
    texts = {"license": publication.license, "url": publication.url, "datePublished": publication.date}
    content: dict[str, Json] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": publication.name,
        "description": description(n_categories, {split: receipt.rows for split, receipt in splits.items()}),
        **{key: text for key, text in texts.items() if text},
        "version": version,
        "distribution": [
            *(_file_object(f"{split}-file", f"{split}/{file.path.name}", file) for split, file in splits.items()),
            *(_file_object(f"{table.path.stem}-file", table.path.name, table) for table in tables),
        ],
        "recordSet": [*(_labels_records(split) for split in splits), _category_records()],
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _write_split(job: tuple[tuple[Location, ...], Location], *, n_classes: int, inputs: Inputs) -> PartWritten:
    """Write parts as one table."""
    parts, path = job
    counts = ExportCounts()
    with table_writer(path, LABELS, inputs) as writer:
        for part in parts:
            for rows, columns in label_batches(part, n_classes):
                writer.write(rows)
                counts += everything(columns)
    assert writer.receipt is not None
    return writer.receipt, counts


def _file_object(identity: str, url: str, receipt: Receipt) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": identity,
        "name": identity,
        "contentUrl": url,
        "contentSize": f"{receipt.bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": receipt.sha256,
    }


def _labels_records(split: str) -> Json:
    def source(column: str, *, inside: str = "") -> Json:
        extracted: dict[str, Json] = {"fileObject": {"@id": f"{split}-file"}, "extract": {"column": column}}
        return {**extracted, "transform": {"jsonPath": inside}} if inside else extracted

    def label_field(name: str, kind: str, text: str, **more: Json) -> Json:
        identity = f"{split}/labels/{name}"
        return {**_field(identity, name, kind, text), "source": source("labels", inside=name), **more}

    texts = {
        "image_id": "Identifies the image.",
        "source": "The collection that annotated the image.",
        "location": "URL or path of the image; may be empty.",
    }
    labels: Json = {
        "@type": "cr:Field",
        "@id": f"{split}/labels",
        "name": "labels",
        "description": "The image's labels, ascending by class_index.",
        "repeated": True,
        "subField": [
            label_field(
                "class_index", "sc:Integer", "The category.", references={"field": {"@id": "categories/class_index"}}
            ),
            label_field("confidence", "sc:Float", CONFIDENCE),
            label_field("origin", "sc:Integer", ORIGIN),
        ],
    }
    plain = [
        {**_field(f"{split}/{name}", name, "sc:Text", text), "source": source(name)} for name, text in texts.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"One record an image of the split {split}.",
        "key": {"@id": f"{split}/image_id"},
        "field": [*plain, labels],
    }


def _category_records() -> Json:
    columns = (
        ("class_index", "sc:Integer", "Number of the category."),
        ("wnid", "sc:Text", "WordNet 3.0 id."),
        ("name", "sc:Text", "Lemmas, comma-separated; several categories may share them."),
        ("parent", "sc:Integer", "class_index of the primary parent, -1 at a root."),
        ("depth", "sc:Integer", "Edges from the root along primary parents."),
        ("images", "sc:Integer", "Images of the category's source classes, where counted."),
    )
    return {
        "@type": "cr:RecordSet",
        "@id": "categories",
        "name": "categories",
        "description": "One record a category.",
        "key": {"@id": "categories/class_index"},
        "field": [
            {
                **_field(f"categories/{name}", name, kind, text),
                "source": {"fileObject": {"@id": "categories-file"}, "extract": {"column": name}},
            }
            for name, kind, text in columns
        ],
    }


def _field(identity: str, name: str, kind: str, text: str) -> dict[str, Json]:
    return {"@type": "cr:Field", "@id": identity, "name": name, "description": text, "dataType": kind}
