"""Every SELECT of the service and of the file sets, by subject; rows leave as frozen dataclasses."""
