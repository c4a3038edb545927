"""The HTTP service that answers a shop's search with rewrites: `qr serve`."""
