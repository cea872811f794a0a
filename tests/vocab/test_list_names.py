"""Names that lists write in their own way are read as dictionaries write them, and no other name is changed."""

from __future__ import annotations

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.list_names import matches_of_list
from mlimages_dataset.vocab.matching import MatchContext
from mlimages_dataset.vocab.wordnet import load_wordnet

PATHS = ("vehicle.zxqv", "vehicle.zxqw", "human.zxqv", "human.zxqw", "human.zxqx")


def read(*names: str) -> list[str]:
    """Return how the names of a list are read."""
    none: frozenset[str] = frozenset()
    context = MatchContext(wordnet=load_wordnet(), imagenet=none, imagenet_all=none, roots=ROOTS, box_parents={})
    classes = [SourceClass(str(number), name) for number, name in enumerate(names)]
    found = matches_of_list(classes, context, {})
    return [found[one.source_id].source_class.name for one in classes]


AS_READ = {
    "windowpane, window": "windowpane (window)",
    "sofa, couch, lounge": "sofa (couch)",
    "person, individual, someone, somebody": "person (individual)",
    "ashcan; trash can": "ashcan (trash can)",
    "couch/sofa": "couch (sofa)",
    "toilet, can, commode, crapper, pot": "toilet (commode)",
    "bank [building]": "bank (building)",
    "Spade: tool": "Spade (tool)",
    "Club - playing card": "Club (playing card)",
    "animal: dog": "dog (animal)",
    "vehicle.bicycle": "bicycle (vehicle)",
    "human.pedestrian.police_officer": "police_officer",
    "Red Fox (Vulpes vulpes)": "Vulpes vulpes",
    "Common Buzzard (Buteo buteo)": "Buteo buteo",
    "Swift [Apus apus]": "Apus apus",
}


def test_a_name_is_read_as_a_noun() -> None:
    found = read(*AS_READ, *PATHS)
    assert dict(zip(AS_READ, found, strict=False)) == AS_READ


OTHERS = (
    "dog", "golden retriever", "Jaguar (car)", "x-ray", "forget-me-not", "St. Bernard", "jack-in-the-box",
    "person, sitting", "tree, broken", "dog, none", "cats, dogs", "C++", "a+b", "3.5 inch disk", "v1.2",
    "Red Fox (no fox)", "Somebody (New arrival)", "zxqv+zxqw", "no.dog-zxqv", "N/A", "dog/cat", "indoor/kitchen",
    "e.g", ",", "/", "[dog]", ": dog",
    # English words in brackets, and things made of a species
    "Violin (Musical instrument)", "Blender (Kitchen appliance)", "Sedan (Motor vehicle)", "Spider (Garden spider)",
    "Toy (Polar bear)", "Table (Vitis vinifera)", "oak leaf (Quercus robur)", "cat food (Felis catus)",
    # dots for blanks, and names with dots
    "ice.cream", "cell.phone", "teddy.bear", "wine.glass", "guinea.pig", "parking.meter", "St.Bernard",
    "Papa.Johns", "Burger.King", "Mr.Bean", "asp.net", "README.md", "Game.of.Thrones", "dog.no",
    # several things, places, states
    "taxi/cab/bus", "bus, coach, train", "Kitchen: fork", "Road: pothole", "Pets: dog", "Dog: Labrador",
    "helmet - not worn", "seat belt: not fastened", "No: helmet", "t - shirt", "x - ray", "sea - horse",
    "horse+cart", "wheel 3.5", "watch-101",
)  # fmt: skip


def test_other_names_stay_as_they_are() -> None:
    assert read(*OTHERS, *PATHS)[: len(OTHERS)] == list(OTHERS)


def test_what_may_be_an_accident_is_read_if_several_names_of_the_list_have_it() -> None:
    assert read("watch-101", "brain-101", "electric-guitar-101") == ["watch", "brain", "electric-guitar"]
    assert read("watch-101", "brain-101", "boeing-747") == ["watch-101", "brain-101", "boeing-747"]
    assert read("watch_1", "watch_2", "watch_3") == ["watch_1", "watch_2", "watch_3"]
    assert read("grizzly+bear", "killer+whale", "polar+bear") == ["grizzly bear", "killer whale", "polar bear"]
    assert read("grizzly+bear", "dog") == ["grizzly+bear", "dog"]
    assert read("flat.road", "flat.sidewalk", "flat.terrain")[1] == "sidewalk"
