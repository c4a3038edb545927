"""The texts of queries and rewrites: words with weights, and the repair of misspelled and compound words."""
