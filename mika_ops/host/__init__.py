"""What a host supplies: its components, and how they are validated and created lazily."""
