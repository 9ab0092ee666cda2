"""Floor 7: recurra's estimators in the dress of other libraries, one library a file."""
