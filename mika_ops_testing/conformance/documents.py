"""The conformance suite of ``DocumentRepository``."""

from mika_ops_testing.conformance.document_candidates import CandidatesConformance
from mika_ops_testing.conformance.document_changes import ChangesConformance


class DocumentRepositoryConformance(CandidatesConformance, ChangesConformance):
    """Holds a document repository against its port.

    A host defines the fixture ``make_repository``: a function that takes documents and returns a repository that holds
    exactly these. Where others write to the same storage, it overrides ``another_writer`` as well, so that changes that
    are made at once come from two connections or clients.
    """
