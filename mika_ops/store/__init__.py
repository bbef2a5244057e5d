"""The site's database: its tables, and the repositories that maintenance needs, on SQLite and Postgres."""
