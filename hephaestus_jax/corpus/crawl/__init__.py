"""The three-level crawl of documentation sites."""
