"""What a study needs around the maps: checks, tables, text and pages, made from records."""
