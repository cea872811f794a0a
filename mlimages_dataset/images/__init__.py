"""The pictures: downloaded or ingested into shards, indexed, checked, chosen; this package needs no torch."""
