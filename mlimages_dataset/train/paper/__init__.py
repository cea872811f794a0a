"""The transfers of Wu et al. 2019, section 5, one command for each row of tables 3 to 6."""
