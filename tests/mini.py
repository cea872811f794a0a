"""A WordNet of 33 real synsets that holds every awkward case, and class lists on it.

Ids, lemmas and lexicographer files are WordNet 3.0's; edges skip the synsets between, and sense numbers count only
the senses that are here.
"""

from __future__ import annotations

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.merging import ClassList
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES
from mlimages_dataset.vocab.wordnet import WordNet

# wnid      | lemmas, with #sense where it is not the first | file | hypernyms | instance of
SYNSETS = """
  n00001740 | entity                            | Tops          |                     |
  n00001930 | physical entity                   | Tops          | n00001740           |
  n00002137 | abstraction, abstract entity      | Tops          | n00001740           |
  n00002452 | thing                             | Tops          | n00001930           |
  n00002684 | object, physical object           | Tops          | n00001930           |
  n00020827 | matter                            | Tops          | n00001930           |
  n11425580 | atmospheric phenomenon            | phenomenon    | n00001930           |
  n00007347 | causal agent, cause, causal agency | Tops         | n00001930           |
  n00029677 | process, physical process         | Tops          | n00001930           |
  n13480848 | fire, flame, flaming              | process       | n00029677           |
  n00004475 | organism, being                   | Tops          | n00002684           |
  n00007846 | person, individual                | Tops          | n00004475 n00007347 |
  n10914447 | Crane, Stephen Crane              | person        |                     | n00007846
  n00015388 | animal, beast                     | Tops          | n00004475           |
  n01317541 | domestic animal                   | animal        | n00015388           |
  n01318894 | pet                               | animal        | n00015388           |
  n02083346 | canine, canid                     | animal        | n00015388           |
  n02084071 | dog, domestic dog                 | animal        | n02083346 n01317541 |
  n01322604 | puppy                             | animal        | n02084071           |
  n02121620 | cat, true cat                     | animal        | n00015388           |
  n02121808 | domestic cat, house cat           | animal        | n02121620 n01317541 |
  n01855672 | goose                             | animal        | n00015388           |
  n02012849 | crane#3                           | animal        | n00015388           |
  n02330245 | mouse                             | animal        | n00015388           |
  n00021939 | artifact                          | Tops          | n00002684           |
  n03793489 | mouse#2, computer mouse           | artifact      | n00021939           |
  n03126707 | crane#2                           | artifact      | n00021939           |
  n02958343 | car, auto, automobile, motorcar   | artifact      | n00021939           |
  n09328904 | lake                              | object        | n00002452           |
  n09333171 | Lake Superior, Superior           | object        |                     | n09328904
  n14845743 | water                             | substance     | n00020827           |
  n11458314 | fog                               | phenomenon    | n11425580           |
  n00482298 | tennis, lawn tennis               | act           | n00002137           |
"""

IRREGULAR_PLURALS = {"geese": ("goose",), "mice": ("mouse",)}

IMAGENET_LIST = ClassList(
    source=IMAGENET,
    classes=(
        SourceClass("n02084071", "dog"),  # two parents: the next two
        SourceClass("n02083346", "canine"),
        SourceClass("n01317541", "domestic animal"),
        SourceClass("n01322604", "puppy"),
        SourceClass("n02121808", "domestic cat"),
        SourceClass("n00015388", "animal"),
        SourceClass("n00007846", "person"),
        SourceClass("n02012849", "crane"),
        SourceClass("n02958343", "car"),
        SourceClass("n09333171", "Lake Superior"),
        SourceClass("n00482298", "tennis"),  # dropped: abstract
        SourceClass("n13480848", "fire"),  # dropped: physical, but below none of the four roots
        SourceClass("n12345678", ""),  # dropped: no such synset
    ),
)

OPEN_IMAGES_LIST = ClassList(
    source=OPEN_IMAGES,
    classes=(
        SourceClass("/m/0bt9lr", "Dog"),  # merged into ImageNet's dog
        SourceClass("/m/0k4j", "Car"),  # merged into ImageNet's car
        SourceClass("/m/0auto", "Automobile"),  # merged into it too, under another of its names
        SourceClass("/m/068hy", "Pet"),
        SourceClass("/m/020lf", "Computer mouse"),
        SourceClass("/m/0dbvp", "Geese"),  # an irregular plural
        SourceClass("/m/0bjkb", "Fog"),
        SourceClass("/m/07bs0", "Tennis"),  # dropped: abstract
        SourceClass("/m/0zorb", "Zorbing"),  # dropped: not in WordNet
    ),
)


def mini_wordnet() -> WordNet:
    """Return the WordNet of `SYNSETS`."""
    rows = sorted([cell.strip() for cell in line.split("|")] for line in SYNSETS.strip().splitlines())
    number = {wnid: i for i, (wnid, *_) in enumerate(rows)}
    lemmas = [[lemma.strip().partition("#") for lemma in cell.split(",")] for _, cell, *_ in rows]
    return WordNet(
        wnids=tuple(number),
        lemmas=tuple(tuple(name for name, _, _ in names) for names in lemmas),
        sense_numbers=tuple(tuple(int(sense or 1) for _, _, sense in names) for names in lemmas),
        counts=tuple(tuple(0 for _ in names) for names in lemmas),
        hypernyms=tuple(tuple(number[wnid] for wnid in above.split()) for *_, above, _ in rows),
        instance_hypernyms=tuple(tuple(number[wnid] for wnid in above.split()) for *_, above in rows),
        lexicographer_files=tuple(f"noun.{name}" for _, _, name, *_ in rows),
        exceptions=IRREGULAR_PLURALS,
    )
