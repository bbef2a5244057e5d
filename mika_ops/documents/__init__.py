"""The language of documents: their shape, selections of them, and sweeps over a repository."""
