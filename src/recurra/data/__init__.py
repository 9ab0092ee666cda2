"""Data: sets by name, text and its tokens, batches."""
