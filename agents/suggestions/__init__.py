"""What may be added to a query: words with a weight and a source, suggested without any training."""
