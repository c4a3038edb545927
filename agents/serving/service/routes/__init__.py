"""The endpoints of the service, a file a group."""
