"""What a campaign did, for people: files, tables, plots."""
