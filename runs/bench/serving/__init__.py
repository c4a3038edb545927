"""`qr bench serve`: the HTTP service under load."""
