"""What a study found: records, result tables, statistics, arms, contrasts and findings."""
