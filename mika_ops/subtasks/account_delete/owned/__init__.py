"""The documents and rows that a person owns: one module for each type.

A module says which documents the database finds (``select``), whose each of them is (``owns``), and what it looks like
without its person (``without``). The rules are in ``mika_ops.rules``; ``owned_documents`` applies them; ``steps`` lists
the types in the order in which they are processed. To add a type, write its module here and its step there.
"""
