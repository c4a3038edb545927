"""`qr headroom`: what the suggested words can gain in a shop at most."""
