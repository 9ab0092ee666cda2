"""Programs that a section starts as processes of their own."""
