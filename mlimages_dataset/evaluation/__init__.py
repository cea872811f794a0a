"""How good labels are: arrays in, counts out."""
