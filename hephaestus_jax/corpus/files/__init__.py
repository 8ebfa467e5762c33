"""Archives and folders, how they get here, and the records in their files."""
