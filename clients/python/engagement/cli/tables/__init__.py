"""Events in tables: CSV and Parquet, as `engagement export` writes them or people make them."""
