"""The transfers of Wu et al. 2019, section 5."""
