"""Tables and files: schemas, Parquet, label columns, confidences."""
