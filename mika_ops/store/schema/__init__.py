"""The tables of a site, mika-ops' own tables, and their indexes."""
