"""What mika-ops promises, held against faults that really happen; docs/guarantees.md names each promise's tests."""
