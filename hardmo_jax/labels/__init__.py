"""The label of a person: schema, Parquet store, provenance."""
