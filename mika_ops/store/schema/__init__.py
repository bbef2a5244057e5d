"""The tables of a site, our own tables, and their indexes."""
