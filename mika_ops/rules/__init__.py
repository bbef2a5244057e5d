"""What is true of one document: pure functions, without a database, a clock or Dagster."""
