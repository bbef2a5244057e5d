"""What an email says: templates, amounts, order summaries and the shop's brand."""
