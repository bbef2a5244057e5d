"""The content of emails: templates, amounts, order summaries and the shop's brand."""
