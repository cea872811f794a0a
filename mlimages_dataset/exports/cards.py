"""Descriptions of a data set in the forms that catalogues read: a dataset card and a Croissant description.

Hugging Face: https://huggingface.co/docs/hub/datasets-manual-configuration; Croissant 1.0:
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html. Both are text made from values; neither library is
needed to write them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.tables.files import Receipt

ORIGIN_NAMES = tuple(origin.name.lower() for origin in Origin)
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
_CONFIDENCE = (
    "1 verified present, 0 verified absent, between them a machine's; a category that is not listed is unknown"
)
_ORIGIN = ", ".join(
    f"{int(origin)} {name.replace('_', '-')}" for origin, name in zip(Origin, ORIGIN_NAMES, strict=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Facts about a data set that only its publisher knows; empty texts are left out of the descriptions.

    Attributes:
        name: the data set's name.
        license: an identifier such as cc-by-4.0, or a URL.
        url: the data set's page.
        date: day of publication, YYYY-MM-DD.
    """

    name: str = "multi-label images"
    license: str = ""
    url: str = ""
    date: str = ""


def description(n_categories: int, rows: Mapping[str, int]) -> str:
    """Return one sentence about a data set with `n_categories` categories, with the rows of each split."""
    splits = " and ".join(f"{n:,} {split}" for split, n in rows.items())
    return (
        f"Multi-label annotations of {splits} images over {n_categories:,} WordNet 3.0 categories; "
        f"each label has a confidence ({_CONFIDENCE}) and an origin ({_ORIGIN})."
    )


def hugging_face_features(wnids: Sequence[str]) -> bytes:
    """Return the JSON that Hugging Face's `datasets` reads from a Parquet file's metadata under `huggingface`.

    A category's `ClassLabel` name is its wnid: names of categories are not unique, and its number is the class index.
    """
    text = {"dtype": "string", "_type": "Value"}
    label = {
        "class_index": {"names": list(wnids), "_type": "ClassLabel"},
        "confidence": {"dtype": "float32", "_type": "Value"},
        "origin": {"names": list(ORIGIN_NAMES), "_type": "ClassLabel"},
    }
    features = {"image_id": text, "source": text, "location": text, "labels": [label]}
    return json.dumps({"info": {"features": features}}).encode()


def hugging_face_card(publication: Publication, wnids: Sequence[str], splits: Mapping[str, tuple[int, int]]) -> str:
    """Return the README.md of a data set repository: YAML for machines, then a page for people.

    Args:
        publication: the publisher's facts.
        wnids: wnid of each category, by class index.
        splits: rows and bytes of each split.
    """
    head = [f"pretty_name: {json.dumps(publication.name)}"]
    head += [f"license: {json.dumps(publication.license)}"] if publication.license else []
    head += ["task_categories:", "- image-classification", "configs:", "- config_name: labels", "  default: true"]
    head += ["  data_files:"]
    for split in splits:
        head += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    for table in ("categories", "mapping"):
        head += [f"- config_name: {table}", f"  data_files: {table}.parquet"]
    head += ["dataset_info:", "- config_name: labels", "  features:", *_yaml_features(wnids), "  splits:"]
    for split, (rows, size) in splits.items():
        head += [f"  - name: {split}", f"    num_bytes: {size}", f"    num_examples: {rows}"]
    return "\n".join(["---", *head, "---", *_page(publication, len(wnids), {k: n for k, (n, _) in splits.items()}), ""])


def croissant(
    publication: Publication,
    n_categories: int,
    splits: Mapping[str, Receipt],
    tables: Sequence[Receipt],
    *,
    version: str,
) -> bytes:
    """Return the Croissant description of a folder with one `labels` table a split and a vocabulary's tables.

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


def _yaml_features(wnids: Sequence[str]) -> Iterator[str]:
    for name in ("image_id", "source", "location"):
        yield from (f"  - name: {name}", "    dtype: string")
    yield from ("  - name: labels", "    list:")
    yield from _yaml_class_label("class_index", wnids)
    yield from ("    - name: confidence", "      dtype: float32")
    yield from _yaml_class_label("origin", ORIGIN_NAMES)


def _yaml_class_label(name: str, names: Sequence[str]) -> Iterator[str]:
    yield from (f"    - name: {name}", "      dtype:", "        class_label:", "          names:")
    for number, one in enumerate(names):
        yield f"            '{number}': {one}"


def _page(publication: Publication, n_categories: int, rows: Mapping[str, int]) -> list[str]:
    return [
        "",
        f"# {publication.name}",
        "",
        description(n_categories, rows),
        "",
        *([f"Home: <{publication.url}>", ""] if publication.url else []),
        "```python",
        "from datasets import load_dataset",
        "",
        'rows = load_dataset("parquet", data_dir="this folder")',
        'categories = load_dataset("this folder", "categories")',
        "```",
        "",
        "`class_index` names a category by its WordNet 3.0 id, because several categories share a name; the config",
        "`categories` holds names, parents, depths and sources, and `mapping` what every source's classes became.",
        "Labels that `mlimages-build labels` wrote are closed under those parents. Confidence 0 says that a category",
        "is absent.",
    ]


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
            label_field("confidence", "sc:Float", _CONFIDENCE),
            label_field("origin", "sc:Integer", _ORIGIN),
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
