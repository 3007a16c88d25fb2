"""What a study found: tables, statistics, findings, words and pictures."""
