"""The sensors that alert about failed and missing runs."""
